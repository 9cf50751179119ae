from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.config import TrainingConfig
from dfplan.data import windows
from dfplan.data.cost_to_go import CostToGo
from dfplan.data.recording import Recording
from dfplan.data.segments import find_segment_ends, find_stream_ends, fit_cost_to_go
from dfplan.data.windows import WindowSampler
from dfplan.envs.demonstrations import generate
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.physics import PointMassPhysics
from dfplan.ground.errors import InputError
from dfplan.task import MAZE


def record(x, timeouts, **columns):
    """A recording of positions x on a line."""
    observations = np.pad(np.array(x, np.float32)[:, None], ((0, 0), (0, 3)))
    rows = {"observations": observations, "actions": np.zeros((len(x), 2)), "timeouts": np.array(timeouts, bool)}
    return Recording.from_rows(rows | columns)


def test_a_segment_ends_at_a_new_goal_at_a_timeout_and_at_the_end_of_the_data():
    goals = np.array([[1, 1], [1, 1], [2, 2], [2, 2], [2, 2], [2, 2]])
    recording = record(range(6), [0, 0, 0, 1, 0, 0], **{"infos/goal": goals})
    assert find_segment_ends(recording).tolist() == [1, 1, 3, 3, 5, 5]


def test_a_stream_continues_over_a_repeated_row_and_ends_at_other_timeouts_and_at_the_end_of_the_data():
    x, timeouts, none = [0.0, 0.1, 0.1, 0.3, 2.0, 2.1], [0, 1, 0, 1, 0, 0], np.zeros((6, 2))
    of_maze = {"infos/goal": none, "infos/qpos": none, "infos/qvel": none}
    assert find_stream_ends(record(x, timeouts, **of_maze)).tolist() == [3, 3, 3, 3, 5, 5]
    assert find_stream_ends(record(x, timeouts)).tolist() == [1, 1, 3, 3, 5, 5], "elsewhere a timeout ends an episode"


def draw(tiny_dataset, tiny_config, count=200, **settings):
    sampler = WindowSampler(Recording.from_rows(tiny_dataset), tiny_config, TrainingConfig(**settings))
    return sampler.draw(count, np.random.default_rng(0))


def test_a_window_holds_the_states_after_each_action(tiny_dataset, tiny_config):
    drawn = draw(tiny_dataset, tiny_config, goal_on_the_way=0.0)
    x = drawn.trajectories.observations[..., 0].numpy()  # (batch, step)
    start = drawn.starts[:, 0].numpy()
    moving = drawn.trajectories.observations[..., 2].numpy() > 0
    expected = start[:, None] + np.arange(1, tiny_config.horizon + 1) / 10
    np.testing.assert_allclose(x[moving], expected[moving], atol=1e-5)
    np.testing.assert_allclose(drawn.trajectories.actions[..., 0].numpy()[moving], expected[moving] - 0.1, atol=1e-5)


def test_after_the_goal_a_window_stands_still(tiny_dataset, tiny_config):
    drawn = draw(tiny_dataset, tiny_config, goal_on_the_way=0.0)
    plan = drawn.trajectories
    assert set(drawn.goals[:, 0].double().numpy().round(3).tolist()) == {2.9, 1.9} and (drawn.goals[:, 1] == 1).all()
    still = plan.observations[..., 2] == 0
    assert still.any() and not still[:, 0].any(), "a window has at least one step to go"
    goal_x = drawn.goals[:, :1].expand(-1, tiny_config.horizon)
    assert (plan.observations[..., 0][still] == goal_x[still]).all()
    assert not plan.actions[still].any()


def test_goals_on_the_way_are_later_states_of_the_segment(tiny_dataset, tiny_config):
    drawn = draw(tiny_dataset, tiny_config, goal_on_the_way=1.0)
    ahead = (drawn.goals[:, 0] - drawn.starts[:, 0]).numpy()
    assert ahead.min() == pytest.approx(0.1, abs=1e-5) and ahead.max() > 1
    assert (drawn.goals[:, 0] < 2.9).any()


def test_long_ways_begin_at_rows_in_proportion_to_their_steps_to_the_goal(tiny_dataset, tiny_config):
    drawn = draw(tiny_dataset, tiny_config, count=20_000, goal_on_the_way=0.0, long_ways=1.0)
    left = ((drawn.goals - drawn.starts[:, :2])[:, 0] * 10).round().long()  # steps, one for each tenth
    counts = torch.bincount(left, minlength=30).double()
    expected = torch.arange(30.0).double() * (1 + (torch.arange(30) < 20).double())  # 30 rows, and 20 more
    torch.testing.assert_close(counts / counts.sum(), expected / expected.sum(), rtol=0, atol=0.006)


def test_rewards_belong_to_the_state_after_the_step(tiny_dataset, tiny_config):
    plan = draw(tiny_dataset, tiny_config).trajectories
    assert ((plan.observations[..., 0] > 2.5) == (plan.rewards == 1)).all()


def test_a_goal_token_and_a_start_token_come_before_the_plan(tiny_dataset, tiny_config, tiny_model):
    tokens = tiny_model.codec.encode_windows(draw(tiny_dataset, tiny_config, count=3))
    assert tokens.shape == (3, 2 + tiny_config.num_tokens, tiny_config.token_dim)


def test_data_without_two_steps_of_one_demonstration_are_refused(tiny_dataset, tiny_config):
    one_row = {key: column[:1] for key, column in tiny_dataset.items()}
    with pytest.raises(InputError, match="use more rows"):
        WindowSampler(Recording.from_rows(one_row), tiny_config, TrainingConfig())


@pytest.fixture(scope="module")
def recording():
    """A recording of two demonstrators with 1,000 steps each, with new goals and repeated rows."""
    return generate("umaze", rows=2000, seed=3)


def long_windows(recording, tiny_config, **settings):
    """Windows of 200 steps, which take most demonstrators past a goal."""
    return draw(recording, replace(tiny_config, frame_stack=20, num_tokens=10), hold_goal=False, **settings)


def test_windows_hold_their_goal_by_default_and_their_draws_are_fixed(recording, tiny_config):
    drawn = draw(recording, tiny_config, count=4)
    assert drawn.starts[:, 0].numpy() == pytest.approx([0.9523, 1.9078, 0.9927, 2.8940], abs=1e-4)
    assert drawn.goals[:, 0].numpy() == pytest.approx([0.9895, 1.0069, 3.0023, 3.0093], abs=1e-4)


def test_without_a_held_goal_every_step_of_a_window_obeys_the_physics(recording, tiny_config):
    drawn = long_windows(recording, tiny_config)
    after = drawn.trajectories.observations.numpy()
    before = np.concatenate([drawn.starts[:, None].numpy(), after[:, :-1]], axis=1)
    actions = drawn.trajectories.actions.numpy()
    stepped = PointMassPhysics(LAYOUTS["umaze"]).step(before.reshape(-1, 4), actions.reshape(-1, 2))
    np.testing.assert_allclose(after.reshape(-1, 4), stepped, atol=1e-3)  # the data have single precision


def test_without_a_held_goal_windows_continue_past_new_goals_and_repeated_rows(recording, tiny_config):
    x = Recording.from_rows(recording).true_states[:, 0]
    timeouts = np.flatnonzero(recording["timeouts"])
    first = np.searchsorted(np.sort(x), long_windows(recording, tiny_config).starts[:, 0].numpy())
    start = np.argsort(x)[first]  # the row of each window's start
    passed = (timeouts > start[:, None]) & (timeouts < start[:, None] + 200)
    assert passed.any(axis=1).mean() > 0.9
    assert (start % 1000 < 800).all(), "a window ends with the stream of 1,000 rows at the latest"


def test_without_a_held_goal_the_goal_is_the_last_position_of_the_window_or_one_on_the_way(recording, tiny_config):
    drawn = long_windows(recording, tiny_config, goal_on_the_way=0.0)
    assert torch.equal(drawn.goals, drawn.trajectories.observations[:, -1, :2])
    drawn = long_windows(recording, tiny_config, goal_on_the_way=1.0)
    met = (drawn.trajectories.observations[..., :2] == drawn.goals[:, None]).all(dim=-1)  # (batch, step)
    assert met.any(dim=1).all() and not met[:, -1].all()


def test_streams_shorter_than_a_window_are_refused(recording, tiny_config):
    too_long = replace(tiny_config, frame_stack=100, num_tokens=10)
    with pytest.raises(InputError, match="2000 rows contain no 1001 consecutive rows"):
        draw(recording, too_long, hold_goal=False)


def test_short_ways_begin_at_rows_few_steps_before_their_goals(tiny_dataset, tiny_config, monkeypatch):
    monkeypatch.setattr(windows, "SHORT_WAY", 3)
    drawn = draw(tiny_dataset, tiny_config, count=2000, goal_on_the_way=0.0, long_ways=0.25, short_ways=0.5)
    left = (10 * (drawn.goals[:, 0] - drawn.starts[:, 0])).round().int()
    assert left.min() == 1
    # Evenly drawn starts have 48 rows with steps to go, of which 6 have 3 at most; long ways have 12 of 625 steps.
    assert (left <= 3).float().mean() == pytest.approx(0.5 + 0.25 * 6 / 48 + 0.25 * 12 / 625, abs=0.03)


def test_long_and_short_ways_cannot_be_more_than_all_windows():
    with pytest.raises(ValueError, match=r"long_ways=0.7 and short_ways=0.4 must add up to at most 1"):
        TrainingConfig(long_ways=0.7, short_ways=0.4)


def test_the_cost_to_go_is_fitted_to_the_true_positions(recording):
    known = fit_cost_to_go(Recording.from_rows(recording), MAZE)
    states = Recording.from_rows(recording).true_states
    is_last = find_stream_ends(Recording.from_rows(recording)) == np.arange(2000)
    assert is_last.sum() == 2
    expected = CostToGo.fit(states[:, :2], is_last)
    for name, part in expected.to_tensors().items():
        assert torch.equal(known.to_tensors()[name], part)
    repeated = CostToGo.fit(recording["observations"][:, :2], is_last)  # with a row said twice after each new goal
    assert not torch.equal(known.landmarks, repeated.landmarks)


def test_the_cost_to_go_has_no_edge_from_one_demonstrator_to_the_next():
    """Two demonstrators walk from x = 0 to 14.9 in steps of 0.1. Without a mark, the break between them is a throw."""
    states = np.zeros((300, 4), np.float32)
    states[:, 0] = np.arange(300) % 150 / 10
    for is_marked, num_thrown in ((False, 1), (True, 0)):
        timeouts = (np.arange(300) == 149) & is_marked
        columns = {"observations": states, "actions": np.zeros((300, 2))}
        known = fit_cost_to_go(Recording.from_rows(columns | {"timeouts": timeouts}), MAZE)
        assert (known.chances > 0).sum() == num_thrown and (known.chances == 0).sum() > 20


def test_the_cost_to_go_of_a_maze_leads_around_its_wall():
    """In umaze a wall is between (3, 1) and (1, 1). The path around it has a length of 6, i.e. 120 steps of 0.05."""
    known = fit_cost_to_go(Recording.from_rows(generate("umaze", rows=10_000, seed=3)), MAZE)
    way = torch.tensor([[3.0, 1.0], [3.0, 2.0], [3.0, 3.0], [2.0, 3.0], [1.0, 3.0], [1.0, 2.0], [1.0, 1.0]])
    for there in (way, way.flip(0)):
        costs = known.solve_for(there[-1:])(there[None])[0]
        assert (costs.diff() < -10).all() and costs[0].item() == pytest.approx(120, abs=20)


def test_the_cost_to_go_is_fitted_to_observations_if_there_are_no_true_states(recording):
    without = {name: column for name, column in recording.items() if name not in ("infos/qpos", "infos/qvel")}
    known, ends = fit_cost_to_go(Recording.from_rows(without), MAZE), find_stream_ends(Recording.from_rows(recording))
    expected = CostToGo.fit(recording["observations"][:, :2], ends == np.arange(2000))
    assert all(torch.equal(part, known.to_tensors()[name]) for name, part in expected.to_tensors().items())


def test_windows_of_an_episode_that_was_cut_begin_where_a_whole_token_is_left(tiny_config):
    settings = TrainingConfig(hold_goal=False, short_windows=True)
    two_tokens = replace(tiny_config, num_tokens=2)
    sampler = WindowSampler(record(range(6), [0, 0, 0, 0, 0, 1]), two_tokens, settings)
    assert sampler.starts.tolist() == [0, 1, 2, 3], "a token has two steps"
    ended = record(range(6), np.zeros(6), terminals=np.arange(6) == 5)
    assert WindowSampler(ended, tiny_config, settings).starts.tolist() == [0, 1, 2, 3, 4, 5]


def test_episodes_without_a_whole_token_are_refused(tiny_config):
    settings = TrainingConfig(hold_goal=False, short_windows=True)
    with pytest.raises(InputError, match="no 3 consecutive rows of one demonstration; use a smaller frame_stack"):
        WindowSampler(record(range(4), [0, 1, 0, 1]), tiny_config, settings)


def test_a_horizon_longer_than_all_episodes_is_refused(tiny_config):
    episodes = [{"observations": np.zeros((4, 4)), "actions": np.zeros((3, 2))}]
    training = TrainingConfig(hold_goal=False, short_windows=True)
    with pytest.raises(InputError, match=r"plans of .* steps are longer than the longest recorded episode of 3 step"):
        WindowSampler(Recording.from_episodes(episodes), replace(tiny_config, frame_stack=1), training)


def test_windows_that_do_not_end_at_goals_are_drawn_in_proportion_to_how_far_they_go(tiny_config):
    """A demonstrator walks for 12 steps and rests for 12; windows have 4 steps."""
    x = np.minimum(np.arange(25), 12)
    settings = TrainingConfig(hold_goal=False, long_ways=1.0, goal_on_the_way=0.0, start_known=1.0)
    sampler = WindowSampler(record(x, np.zeros(25)), replace(tiny_config, num_tokens=2), settings)
    drawn = sampler.draw(8000, np.random.default_rng(0))
    counts = torch.bincount(drawn.starts[:, 0].long(), minlength=13).double()
    expected = torch.tensor([4.0] * 9 + [3.0, 2.0, 1.0, 0.0]).double()  # the way from each place; rest goes nowhere
    torch.testing.assert_close(counts / counts.sum(), expected / expected.sum(), rtol=0, atol=0.015)


def test_a_horizon_that_only_rounding_makes_too_long_is_learned_as_far_as_it_is_known(tiny_config):
    recording = record(range(8), np.arange(8) == 7)  # 7 steps, in windows of 8
    settings = TrainingConfig(hold_goal=False, short_windows=True, long_ways=0.5)
    assert len(WindowSampler(recording, tiny_config, settings).starts) == 6


def test_without_a_goal_that_moves_long_ways_are_those_of_many_steps(tiny_config):
    without = replace(tiny_config, task=replace(MAZE, goal=(), rests=False), num_tokens=2)
    settings = TrainingConfig(hold_goal=False, long_ways=1.0, goal_known=0.0)
    sampler = WindowSampler(record(range(20), np.zeros(20)), without, settings)
    assert sampler.ways_up_to[-1] == sum(range(4, 20))
