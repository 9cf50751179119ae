import pytest
import torch
from exact_backbone import Exact

from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import SOLVERS, tabulate_alpha_bar
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START
from dfplan.sampling.guidance import (
    Guidance,
    InPainting,
    draw_futures,
    find_next_committed,
    find_planned,
    guidance_gradient,
    score_plans,
    shift_x0,
)
from dfplan.sampling.guides import goal_distance
from dfplan.sampling.prediction import predict
from dfplan.sampling.sampler import sample
from dfplan.sampling.schedules import scheduling_matrix
from dfplan.sampling.sequence import Sequence

KNOWN_LEVELS = torch.tensor([0, 0])


def generators(batch, seed=0):
    return [torch.Generator().manual_seed(seed + row) for row in range(batch)]


def first_row(model, batch=2, num_tokens=4, schedule="pyramid", steps=4):
    planned = scheduling_matrix(schedule, num_tokens, steps, model.config.num_levels, 1.0)
    matrix = torch.cat([KNOWN_LEVELS.expand(len(planned), 2), planned], dim=1)
    torch.manual_seed(1)
    tokens = torch.randn(batch, FIRST_PLANNED + num_tokens, model.config.token_dim) * model.codec.used_channels(
        num_tokens
    )
    return tokens, matrix


def sequence(tokens, matrix):
    return Sequence(tokens, matrix, slice(FIRST_PLANNED, None))


def foreseen(model, tokens, levels):
    """Return the tokens, which require a gradient, and x0 with the way back to them."""
    tokens = tokens.clone().requires_grad_()
    return tokens, predict(model, tokens, levels)[0]


def batches_run(model):
    """Numbers of sequences that the backbone is run on from now on."""
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    return seen


class Gaussian(DiffusionForcing):
    """The exact x0-prediction when every channel of every token is N(mean, std²)."""

    def __init__(self, model, mean, std):
        super().__init__(model.config)
        self.codec, self.alpha_bar, self.mean, self.std = model.codec, model.alpha_bar, mean, std
        self.backbone = Exact(self.predict_exactly)

    def predict_exactly(self, noisy, levels):
        alpha_bar = self.alpha_bar[levels][..., None]
        gain = alpha_bar.sqrt() * self.std**2 / (alpha_bar * self.std**2 + 1 - alpha_bar)
        return self.mean + gain * (noisy - alpha_bar.sqrt() * self.mean)


class Coins(DiffusionForcing):
    """The exact x0-prediction when every channel of every token is -1 or 1, by the toss of a coin."""

    def __init__(self, model):
        super().__init__(model.config)
        self.codec, self.alpha_bar = model.codec, model.alpha_bar
        self.backbone = Exact(self.predict_exactly)

    def predict_exactly(self, noisy, levels):
        alpha_bar = self.alpha_bar[levels][..., None]
        return torch.tanh(alpha_bar.sqrt() * noisy / (1 - alpha_bar).clamp_min(1e-6))


@pytest.mark.parametrize("schedule", ["pyramid", "full_sequence", "autoregressive", "trapezoid"])
def test_any_schedule_samples_the_data_distribution_when_the_prediction_is_exact(tiny_model, schedule):
    tiny_model.alpha_bar = tabulate_alpha_bar("cosine", 100)
    model = Gaussian(tiny_model, mean=2.0, std=0.5)
    tokens, matrix = first_row(model, batch=2000, schedule=schedule, steps=50)
    planned = sample(model, sequence(tokens, matrix), [])[:, FIRST_PLANNED:]
    assert planned.mean() == pytest.approx(2.0, abs=0.02)
    assert planned.std() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("schedule", ["pyramid", "full_sequence", "autoregressive", "trapezoid"])
@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_guiding_a_gaussian_by_a_linear_score_gives_its_exact_tilt(tiny_model, schedule, scale):
    """p(x) exp(s a x) of N(m, v) is N(m + s a v, v): the mean moves, the variance stays."""
    tiny_model.alpha_bar = tabulate_alpha_bar("cosine", 100)
    model = Gaussian(tiny_model, mean=2.0, std=0.5)
    slope = (
        3.0 * model.config.frame_stack / model.codec.std[0].item()
    )  # a token's score has slope 3 in normalised units

    def score(plan):
        return slope * plan.observations[..., 0].sum(dim=1)

    tokens, matrix = first_row(model, batch=3000, schedule=schedule, steps=50)
    planned = sample(model, sequence(tokens, matrix), [], Guidance(score, scale))[:, FIRST_PLANNED:]
    frame = model.codec.std.numel()
    guided, others = planned[..., ::frame], planned[..., 1::frame]  # x of each frame, and a channel without a score
    assert guided.mean() == pytest.approx(2.0 + scale * 3.0 * 0.5**2, abs=0.03)
    assert guided.std() == pytest.approx(0.5, abs=0.02)
    assert others.mean() == pytest.approx(2.0, abs=0.02) and others.std() == pytest.approx(0.5, abs=0.02)


def test_known_tokens_are_never_written_to(tiny_model):
    tokens, matrix = first_row(tiny_model)
    result = sample(tiny_model, sequence(tokens, matrix), generators(2))
    assert torch.equal(result[:, :FIRST_PLANNED], tokens[:, :FIRST_PLANNED])
    assert not torch.equal(result[:, FIRST_PLANNED:], tokens[:, FIRST_PLANNED:])


def test_history_held_at_a_level_keeps_its_value_while_the_plan_heeds_the_level(tiny_model):
    tokens, matrix = first_row(tiny_model)
    doubted = matrix.clone()
    doubted[:, START] = 50
    trusting, doubting = (sample(tiny_model, sequence(tokens, rows), generators(2)) for rows in (matrix, doubted))
    assert torch.equal(doubting[:, START], tokens[:, START])
    assert not torch.allclose(trusting[:, FIRST_PLANNED:], doubting[:, FIRST_PLANNED:])


@pytest.mark.parametrize("num_futures", [1, 3])
def test_a_plan_is_guided_the_same_alone_and_in_a_batch(tiny_model, num_futures):
    tokens, matrix = first_row(tiny_model, batch=5)
    goals = torch.randn(5, 2)

    def guided(rows):
        guidance = Guidance(goal_distance(goals[rows]), scale=2.0, num_futures=num_futures)
        return sample(
            tiny_model, sequence(tokens[rows], matrix), [generators(5)[row] for row in range(5)[rows]], guidance
        )

    torch.testing.assert_close(guided(slice(0, 5))[3:4], guided(slice(3, 4)), rtol=1e-4, atol=1e-5)


def test_guidance_draws_the_plan_to_the_goal(tiny_model):
    model = Gaussian(tiny_model, mean=0.0, std=1.0)
    tokens, matrix = first_row(model, batch=50, steps=20)
    goal = torch.tensor([[9.0, 9.0]]).expand(50, 2)
    distances = []
    for scale in (0.0, 1.0, 3.0):
        planned = sample(model, sequence(tokens, matrix), generators(50), Guidance(goal_distance(goal), scale))
        positions = model.codec.decode(planned[:, FIRST_PLANNED:]).observations[..., :2]
        distances.append((positions - goal[:, None]).norm(dim=-1).mean().item())
    assert distances[0] > distances[1] + 0.3 > distances[2] + 0.6


def test_guidance_of_scale_zero_changes_nothing(tiny_model):
    tokens, matrix = first_row(tiny_model)
    guidance = Guidance(goal_distance(torch.zeros(2, 2)), scale=0.0)
    plain, guided = (
        sample(tiny_model, sequence(tokens, matrix), []),
        sample(tiny_model, sequence(tokens, matrix), [], guidance),
    )
    torch.testing.assert_close(plain, guided)


def test_the_gradient_of_one_future_is_the_gradient_of_the_guide_through_the_network(tiny_model):
    tokens, matrix = first_row(tiny_model)
    levels, guide = matrix[5], goal_distance(torch.zeros(2, 2))
    gradient = guidance_gradient(tiny_model, *foreseen(tiny_model, tokens, levels), levels, Guidance(guide), [])
    nudge = torch.zeros_like(tokens)
    nudge[0, 3, 1] = 1e-2

    def score(tokens):
        plan = tiny_model.codec.decode(predict(tiny_model, tokens, levels)[0][:, FIRST_PLANNED:])
        return guide(plan)[0] / tiny_model.config.frame_stack

    slope = (score(tokens + nudge) - score(tokens - nudge)) / 2e-2
    assert gradient[0, 3, 1].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("num_futures", [1, 2])
def test_a_guide_scores_clean_tokens_as_they_are_and_not_what_the_network_says_of_them(tiny_model, num_futures):
    tokens, _ = first_row(tiny_model)
    matrix = torch.tensor([[0, 0, 0, 0, 50, 50], [0, 0, 0, 0, 0, 0]])
    shown = []

    def guide(plan):
        shown.append(plan.observations.detach())
        return plan.observations[..., 0].sum(dim=1)

    sample(tiny_model, sequence(tokens, matrix), generators(2), Guidance(guide, num_futures=num_futures))
    clean = tiny_model.codec.decode(tokens[:, FIRST_PLANNED : FIRST_PLANNED + 2]).observations
    assert len(shown) == 1 + (num_futures > 1) * num_futures
    for observations in shown:
        torch.testing.assert_close(observations[:, : clean.shape[1]], clean)


@pytest.mark.parametrize("schedule", ["full_sequence", "pyramid", "autoregressive"])
def test_a_guide_is_refused_where_tokens_go_from_noise_to_clean_in_one_step(tiny_model, schedule):
    tokens, matrix = first_row(tiny_model, schedule=schedule, steps=1)
    with pytest.raises(InputError, match="4 of the planned tokens go from noise to clean in one step"):
        sample(tiny_model, sequence(tokens, matrix), generators(2), Guidance(goal_distance(torch.zeros(2, 2))))
    beyond = torch.full((len(matrix), 1), 100)  # a token that stays masked is no part of the plan
    longer = torch.cat([matrix[:, :5], beyond], dim=1).repeat_interleave(2, dim=0)
    longer[1, 2:5] = 50
    sample(tiny_model, sequence(tokens, longer[:3]), generators(2), Guidance(goal_distance(torch.zeros(2, 2))))


def test_the_variance_of_the_monte_carlo_gradient_falls_like_one_over_the_number_of_futures(tiny_model):
    repeats = 400
    tokens, matrix = first_row(tiny_model, batch=1)
    tokens, levels = tokens.expand(repeats, -1, -1), matrix[3]  # the first token is about to be committed, others not
    guide = goal_distance(torch.zeros(1, 2))

    def variance(num_futures):
        guidance, foresight = Guidance(guide, num_futures=num_futures), foreseen(tiny_model, tokens, levels)
        gradient = guidance_gradient(tiny_model, *foresight, levels, guidance, generators(repeats))
        return gradient[:, FIRST_PLANNED].var(dim=0).sum().item()

    two, eight = variance(2), variance(8)
    assert two > 0
    assert two / eight == pytest.approx(4.0, rel=0.3)


def test_futures_differ_in_the_uncertain_tokens_and_agree_in_the_committed_ones(tiny_model):
    tokens, _ = first_row(tiny_model, batch=1)
    levels = torch.tensor([0, 0, 0, 25, 50, 100])
    futures = draw_futures(tiny_model, tokens, tokens, levels, 3, generators(1))
    assert futures.shape == (1, 3, *tokens.shape[1:])
    assert torch.equal(futures[0, :, :4], tokens[0, :4].expand(3, -1, -1))
    assert not torch.allclose(futures[0, 0, 4:], futures[0, 1, 4:])


def scored_futures(model, future_steps, num_futures=50):
    """The futures that a guide is shown: normalised tokens (future, token, channel); the first one is committed."""
    levels, shown = torch.tensor([0, 0, 30, 100, 100]), []

    def guide(plan):
        shown.append(model.codec.encode(plan).detach()[0])
        return plan.observations.sum(dim=(1, 2))

    tokens = torch.randn(1, 5, model.config.token_dim, generator=torch.Generator().manual_seed(3))
    tokens *= model.codec.used_channels(3)
    guidance = Guidance(guide, num_futures=num_futures, future_steps=future_steps)
    gradient = guidance_gradient(model, *foreseen(model, tokens, levels), levels, guidance, generators(1))
    assert gradient.shape == tokens.shape and gradient.isfinite().all()
    return torch.stack(shown[:num_futures])  # with one step the plan itself comes last, for the plain gradient


def test_futures_from_pure_noise_are_the_mean_future_unless_they_are_denoised(tiny_model):
    model = Coins(tiny_model)
    one, many = (scored_futures(model, future_steps) for future_steps in (1, 12))
    assert len(one) == len(many) == 50
    assert one[:, 1:].abs().max() < 1e-3  # the mean of -1 and 1
    assert many[:, 1:].abs().mean() > 0.8
    assert many[:, 1:].mean().abs() < 0.1  # both outcomes are drawn equally often
    torch.testing.assert_close(many[:, 0], one[:, 0])  # that of the committed token is left to the plan


def test_a_single_future_that_is_denoised_is_drawn_and_not_the_mean(tiny_model):
    future = scored_futures(Coins(tiny_model), future_steps=12, num_futures=1)
    assert len(future) == 1 and future[:, 1:].abs().mean() > 0.8


def test_the_gradient_of_denoised_futures_is_the_slope_of_their_meanscore_plans(tiny_model):
    tokens, _ = first_row(tiny_model, batch=1)
    levels, scores = torch.tensor([0, 0, 30, 60, 100, 100]), []

    def guide(plan):
        score = -(plan.observations[..., :2] - 1).square().sum(dim=(1, 2))
        scores.append(score.detach().item())
        return score

    x0 = predict(tiny_model, tokens, levels)[0]
    guidance = Guidance(guide, num_futures=2, future_steps=3)

    def gradient_andscore_plans(nudge):
        scores.clear()
        nudged = tokens.clone()
        nudged[0, FIRST_PLANNED, 0] += nudge
        nudged.requires_grad_()
        predicted = x0 + (plain := predict(tiny_model, nudged, levels)[0]) - plain.detach()
        gradient = guidance_gradient(tiny_model, nudged, predicted, levels, guidance, generators(1))
        return gradient[0, FIRST_PLANNED, 0].item(), sum(scores[:2]) / 2 / tiny_model.config.frame_stack

    (gradient, _), (_, above), (_, below) = (gradient_andscore_plans(nudge) for nudge in (0.0, 1e-2, -1e-2))
    assert gradient == pytest.approx((above - below) / 2e-2, rel=0.02, abs=1e-4)


def test_redrawn_tokens_keep_the_spread_of_their_level(tiny_model):
    model = Gaussian(tiny_model, mean=0.0, std=1.0)
    levels = torch.tensor([0, 0, 10, 60, 60, 100])
    tokens = torch.randn(2000, 6, model.config.token_dim)
    x0, _ = predict(model, tokens, levels)
    futures = draw_futures(model, tokens, x0, levels, 2, generators(2000))
    assert futures[:, :, 3:].std(dim=(0, 1, 3)).tolist() == pytest.approx([1.0] * 3, abs=0.02)


def test_goal_strength_extrapolates_from_the_masked_to_the_conditioned_prediction(tiny_model):
    tokens, matrix = first_row(tiny_model)
    levels = matrix[2]
    masked_levels, masked_tokens = levels.clone(), tokens.clone()
    masked_levels[GOAL], masked_tokens[:, GOAL] = 100, 0
    conditioned, _ = predict(tiny_model, tokens, levels)
    masked, _ = predict(tiny_model, masked_tokens, masked_levels)
    extrapolated, _ = predict(tiny_model, tokens, levels, 2.0)
    uncertain = levels > 0
    torch.testing.assert_close(extrapolated[:, uncertain], (2 * conditioned - masked)[:, uncertain])
    assert uncertain.sum() == 4 and torch.equal(extrapolated[:, ~uncertain], tokens[:, ~uncertain])


def test_each_row_is_shown_with_its_levels(tiny_model):
    tokens, matrix = first_row(tiny_model)
    seen = []
    sample(tiny_model, sequence(tokens, matrix), [], on_row=lambda x0, levels: seen.append((x0.shape, levels)))
    assert [shape for shape, _ in seen] == [tokens.shape] * (len(matrix) - 1)
    assert torch.equal(torch.stack([levels for _, levels in seen]), matrix[:-1])


def test_known_tokens_are_in_no_future_redrawn_nor_taken_for_the_ones_committed_next(tiny_model):
    tokens, _ = first_row(tiny_model, batch=1)
    levels = torch.tensor([100, 5, 20, 40, 60, 100])
    assert find_next_committed(levels, 100).tolist() == [False, False, True, False, False, False]
    futures = draw_futures(tiny_model, tokens, tokens, levels, 3, generators(1))
    assert torch.equal(futures[0, :, :3], tokens[0, :3].expand(3, -1, -1))


def test_tokens_that_are_not_about_to_be_committed_have_the_plain_gradient(tiny_model):
    tokens, matrix = first_row(tiny_model, batch=1)
    levels, guide = matrix[3], goal_distance(torch.zeros(1, 2))
    plain, averaged = (
        guidance_gradient(
            tiny_model,
            *foreseen(tiny_model, tokens, levels),
            levels,
            Guidance(guide, num_futures=number),
            generators(1),
        )
        for number in (1, 4)
    )
    torch.testing.assert_close(plain[:, FIRST_PLANNED + 1 :], averaged[:, FIRST_PLANNED + 1 :])
    assert not torch.allclose(plain[:, FIRST_PLANNED], averaged[:, FIRST_PLANNED])


def in_painted(model, value):
    """Know the first two channels of the last token."""
    mask = torch.zeros(FIRST_PLANNED + 4, model.config.token_dim, dtype=torch.bool)
    mask[-1, :2] = True
    return InPainting(torch.full((1, *mask.shape), value), mask)


@pytest.mark.parametrize("schedule", ["full_sequence", "pyramid"])
def test_what_is_painted_in_stands_in_the_plan_and_the_rest_goes_on_from_it(tiny_model, schedule):
    tokens, matrix = first_row(tiny_model, schedule=schedule)
    guidance = Guidance(goal_distance(torch.zeros(2, 2)), in_painting=in_painted(tiny_model, 1.5))
    plain, painted = (
        sample(tiny_model, sequence(tokens, matrix), generators(2), way) for way in (Guidance(), guidance)
    )
    assert (painted[:, -1, :2] == 1.5).all() and not (plain[:, -1, :2] == 1.5).any()
    assert not torch.allclose(painted[:, -2], plain[:, -2])


def test_what_is_painted_in_stands_at_the_level_of_its_token_with_the_plans_own_noise(tiny_model):
    tokens, matrix = first_row(tiny_model, schedule="full_sequence")
    halfway = sample(tiny_model, sequence(tokens, matrix[:3]), [], Guidance(in_painting=in_painted(tiny_model, 1.5)))
    alpha_bar = tiny_model.alpha_bar[matrix[2, -1]]
    expected = alpha_bar.sqrt() * 1.5 + (1 - alpha_bar).sqrt() * tokens[:, -1, :2]
    torch.testing.assert_close(halfway[:, -1, :2], expected)


def test_doubted_history_is_inferred_but_never_guided_nor_redrawn(tiny_model):
    tokens, _ = first_row(tiny_model)
    matrix = torch.tensor([[0, 0, 40, 40, 75, 90], [0, 0, 20, 20, 50, 75]])
    planned, guide = slice(FIRST_PLANNED + 2, None), goal_distance(torch.full((2, 2), 50.0))
    assert find_planned(matrix[0], planned).tolist() == [False] * 4 + [True] * 2
    assert find_next_committed(matrix[0], 100, planned).tolist() == [False] * 4 + [True, False]
    futures = draw_futures(tiny_model, tokens, tokens, matrix[0], 2, generators(2), planned)
    assert torch.equal(futures[:, 0, :5], tokens[:, :5]) and not torch.equal(futures[:, 0, 5], tokens[:, 5])
    plain, guided = (
        sample(tiny_model, Sequence(tokens, matrix, planned), generators(2), Guidance(guide, scale, 2))
        for scale in (0.0, 1.0)
    )
    assert torch.equal(plain[:, :4], guided[:, :4]) and not torch.allclose(plain[:, 4:], guided[:, 4:])
    assert not torch.allclose(plain[:, 2:4], tokens[:, 2:4])


def test_the_padding_of_an_inferred_start_stays_zero(tiny_model):
    tokens, matrix = first_row(tiny_model)
    matrix[:, START] = matrix[:, FIRST_PLANNED].clamp(max=50)
    start = sample(tiny_model, sequence(tokens, matrix), [])[:, START]
    assert not start[:, tiny_model.config.task.observation_dim :].any()
    assert not torch.allclose(start[:, :4], tokens[:, START, :4])


@pytest.mark.parametrize(("num_futures", "row"), [(1, [2]), (3, [2, 8])])
def test_a_plan_is_run_once_in_every_row_and_its_futures_in_one_batch(tiny_model, num_futures, row):
    tokens, matrix = first_row(tiny_model, schedule="full_sequence")
    seen = batches_run(tiny_model)
    guidance = Guidance(goal_distance(torch.zeros(2, 2)), num_futures=num_futures)
    sample(tiny_model, sequence(tokens, matrix), generators(2), guidance)
    assert seen == [2, *row * 3]  # pure noise is not guided


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_in_which_nothing_changes_are_skipped_but_shown(tiny_model, solver):
    tokens, matrix = first_row(tiny_model)
    doubled = matrix.repeat_interleave(2, dim=0)
    seen, shown = batches_run(tiny_model), []
    plan = sample(tiny_model, sequence(tokens, doubled), [], solver=solver)
    assert len(seen) == len(matrix) - 1
    assert torch.equal(plan, sample(tiny_model, sequence(tokens, matrix), [], solver=solver))
    watched = sample(
        tiny_model, sequence(tokens, doubled), [], solver=solver, on_row=lambda x0, levels: shown.append(x0)
    )
    assert torch.equal(plan, watched)
    assert len(shown) == len(doubled) - 1 and torch.equal(shown[0], shown[1])


def test_gradients_may_start_from_a_sampled_plan(tiny_model):
    tokens, matrix = first_row(tiny_model)
    plan = sample(tiny_model, sequence(tokens, matrix), []).requires_grad_()
    (slope,) = torch.autograd.grad(plan.square().sum(), plan)
    assert torch.equal(slope, 2 * plan)


@pytest.mark.parametrize("schedule", ["full_sequence", "pyramid"])
def test_the_multistep_solver_comes_closer_to_the_exact_flow(tiny_model, schedule):
    tiny_model.alpha_bar = tabulate_alpha_bar("cosine", 100)
    model = Gaussian(tiny_model, mean=2.0, std=0.5)
    tokens, matrix = first_row(model, schedule=schedule, steps=20)
    exact = 2.0 + 0.5 * tokens
    errors = [
        (sample(model, sequence(tokens, matrix), [], solver=solver) - exact)[:, FIRST_PLANNED:].abs().max()
        for solver in ("ddim", "multistep")
    ]
    assert errors[1] < errors[0] / 2


def test_a_misspelt_solver_is_answered_with_its_near_match(tiny_model):
    tokens, matrix = first_row(tiny_model)
    with pytest.raises(InputError, match="did you mean multistep"):
        sample(tiny_model, sequence(tokens, matrix), [], solver="mulitstep")


def test_a_score_is_divided_by_the_steps_of_a_token(tiny_model):
    """Twice the steps in a token give twice the score; the shift of a token is the same."""
    tokens, matrix = first_row(tiny_model)
    levels, sums = matrix[3], []

    def guide(plan):
        sums.append(plan.observations[..., 0].sum(dim=1))
        return sums[-1]

    _, x0 = foreseen(tiny_model, tokens, levels)
    score = score_plans(tiny_model, x0[:, None], Guidance(guide))
    assert tiny_model.config.frame_stack == 2
    torch.testing.assert_close(score, sums[0].sum() / 2)


def test_a_bound_shortens_the_shifts_of_the_tokens_that_exceed_it_and_leaves_the_others_alone(tiny_model):
    gradient = torch.randn(2, 6, tiny_model.config.token_dim, generator=torch.Generator().manual_seed(0))
    gradient[:, 3] *= 1e-3
    levels = torch.tensor([0, 0, 0, 50, 60, 70])
    free, bounded = (shift_x0(tiny_model, gradient, levels, Guidance(max_shift=bound)) for bound in (None, 0.1))
    size, short = (shift.square().mean(dim=-1).sqrt() for shift in (free, bounded))
    assert (size[:, 4:] > 0.1).all() and (size[:, 3] < 0.1).all() and (size[:, 3] > 0).all()
    torch.testing.assert_close(short[:, 4:], torch.full((2, 2), 0.1))
    assert torch.equal(bounded[:, :4], free[:, :4]) and not bounded[:, :3].any()
    cosine = torch.nn.functional.cosine_similarity(free[:, 4:], bounded[:, 4:], dim=-1)
    torch.testing.assert_close(cosine, torch.ones(2, 2))


def test_however_strong_the_guide_a_bounded_row_moves_x0_by_no_more_than_the_bound(tiny_model):
    tokens, matrix = first_row(tiny_model, schedule="full_sequence", steps=2)
    last_row = matrix[1:]  # from half-way down to clean, where a plan is x0 as it was guided
    guidance = Guidance(goal_distance(torch.full((2, 2), 50.0)), scale=1e6, max_shift=0.5)
    plain, guided = (
        sample(tiny_model, sequence(tokens, last_row), generators(2), way) for way in (Guidance(), guidance)
    )
    shift = (guided - plain)[:, FIRST_PLANNED:].square().mean(dim=-1).sqrt()
    torch.testing.assert_close(shift, torch.full((2, 4), 0.5), rtol=1e-3, atol=0)


def test_a_bound_that_no_shift_reaches_changes_nothing(tiny_model):
    tokens, matrix = first_row(tiny_model)
    goals = torch.zeros(2, 2)
    plans = [
        sample(tiny_model, sequence(tokens, matrix), generators(2), Guidance(goal_distance(goals), max_shift=bound))
        for bound in (None, 1e6)
    ]
    torch.testing.assert_close(*plans)


@pytest.mark.parametrize("num_futures", [1, 3])
def test_each_plan_is_guided_by_its_own_scale_as_it_would_be_alone(tiny_model, num_futures):
    tokens, matrix = first_row(tiny_model, batch=3)
    goals = torch.randn(3, 2)
    scales = torch.tensor([0.0, 0.5, 3.0])

    def guided(scale, rows=slice(None)):
        guidance = Guidance(goal_distance(goals[rows]), scale, num_futures, max_shift=1.0)
        return sample(tiny_model, sequence(tokens[rows], matrix), generators(3)[rows], guidance)

    together = guided(scales)
    for row in range(3):
        alone = guided(scales[row].item(), slice(row, row + 1))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    unguided = sample(tiny_model, sequence(tokens, matrix), [])
    torch.testing.assert_close(together[0], unguided[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[1:], unguided[1:], rtol=1e-2, atol=1e-2)


def test_a_stepwise_guide_scores_all_futures_at_once_with_the_gradient_that_it_gives_one_by_one(tiny_model):
    tokens, matrix = first_row(tiny_model)
    levels, shown = matrix[3], []
    at_once = goal_distance(torch.tensor([[1.0, 2.0], [5.0, 5.0]]))

    def one_by_one(plan):
        shown.append(plan.rewards.shape)
        return at_once(plan)

    together, apart = (
        guidance_gradient(
            tiny_model, *foreseen(tiny_model, tokens, levels), levels, Guidance(guide, num_futures=3), generators(2)
        )
        for guide in (at_once, one_by_one)
    )
    assert torch.equal(together, apart) and together.any()
    assert shown == [(2, 8)] * 4  # three futures and the plan itself
