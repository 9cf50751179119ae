from dataclasses import replace

import numpy as np
import pytest
import torch
from exact_backbone import Exact

from dfplan.benchmarks import composition
from dfplan.benchmarks.composition import ARRIVAL, CORNERS, CROSSING_STEPS, HALF, MODEL, REACH, SPREAD
from dfplan.benchmarks.reporting.ablation import Run, format_markdown_table
from dfplan.config import TrainingConfig
from dfplan.data.recording import Recording
from dfplan.data.segments import find_segment_ends
from dfplan.data.trajectories import Statistics
from dfplan.data.windows import WindowSampler
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import START

SQUARE_CENTRE = np.zeros(2)


@pytest.fixture
def crossings():
    return composition.draw_crossings(200, np.random.default_rng(0))


@pytest.fixture
def v_shaped(crossings):
    """Paths made of the first half of a crossing and the second half of a crossing along the other diagonal."""
    paths, corner = crossings
    second = np.roll(paths, 1, axis=0)[:, HALF:]
    second = second - second[:, :1] + paths[:, HALF : HALF + 1]  # no jump at the centre
    return np.concatenate([paths[:, :HALF], second], axis=1), corner


def through(*points):
    """One path of straight lines from point to point, with ``HALF`` steps each."""
    share = np.linspace(0, 1, HALF + 1)[:, None]
    legs = [first + share * (np.array(second) - first) for first, second in zip(map(np.array, points), points[1:])]
    return np.concatenate([legs[0], *(leg[1:] for leg in legs[1:])])


def test_a_crossing_starts_at_its_corner_passes_the_centre_and_ends_before_the_opposite_corner(crossings):
    paths, corner = crossings
    assert paths.shape == (200, CROSSING_STEPS + 1, 2) and (np.bincount(corner) == 50).all()
    milestones = {0: CORNERS[corner], HALF: SQUARE_CENTRE, CROSSING_STEPS: -ARRIVAL * CORNERS[corner]}
    for step, expected in milestones.items():
        offset = paths[:, step] - expected
        assert np.abs(offset.mean(axis=0)).max() < SPREAD / 2 and np.abs(offset).max() < 6 * SPREAD


def test_the_progress_passes_the_centre_at_half_the_time_and_never_turns_back():
    way = composition.compute_progress(np.linspace(0, 1, 101))
    assert way[[0, 50, 100]] == pytest.approx([-1, 0, ARRIVAL]) and (np.diff(way) > 0).all()


def test_the_starts_of_crossings_are_apart_from_their_ends(crossings):
    paths, corner = crossings
    outwards = (paths * CORNERS[corner][:, None]).sum(axis=-1)  # (path, time) along the diagonal
    assert outwards[:, 0].min() > -outwards[:, -1].min()


def test_the_dataset_has_one_segment_per_path_whose_actions_lead_from_row_to_row(crossings):
    paths, _ = crossings
    data = composition.make_dataset(paths)
    last = np.arange(200) * (CROSSING_STEPS + 1) + CROSSING_STEPS
    assert np.array_equal(np.unique(find_segment_ends(Recording.from_rows(data))), last)
    reached = data["observations"][:-1] + data["actions"][:-1]
    inside = np.setdiff1d(np.arange(len(reached)), last)
    assert reached[inside] == pytest.approx(data["observations"][inside + 1], abs=1e-6)
    assert not data["actions"][last].any() and np.abs(data["actions"]).max() < 1  # an agent's actions are clipped there


def test_a_window_of_the_dataset_is_a_crossing_that_ends_standing_still(crossings):
    sampler = WindowSampler(
        Recording.from_rows(composition.make_dataset(crossings[0])), MODEL, TrainingConfig(goal_on_the_way=0.0)
    )
    windows = sampler.draw(50, np.random.default_rng(0))
    assert windows.goals.numpy() == pytest.approx(windows.trajectories.observations[:, -1].numpy())
    moved = windows.starts + windows.trajectories.actions.sum(dim=1)
    assert torch.allclose(moved, windows.goals, atol=1e-5)


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ((0.8, 0.8), "opposite"),
        ((0.8, -0.8), "neighbouring"),
        ((-0.8, 0.8), "neighbouring"),
        ((-1.1, -1.0), "back"),
        ((0.1, 0.1), "elsewhere"),
        ((1.0 - REACH - 0.01, 1.0), "elsewhere"),
    ],
)
def test_a_path_from_the_lower_left_corner_is_classified_by_where_it_ends(last, name):
    found = composition.classify_ends(through((-1.0, -1.0), (0.0, 0.0), last)[None], np.array([0]))
    assert {key for key, those in found.items() if those[0]} == {name}


def test_turns_are_counted_from_the_corner_where_a_path_begins():
    paths = np.stack([through(CORNERS[first], (0.0, 0.0), -CORNERS[first]) for first in range(4)])
    assert composition.classify_ends(paths, np.arange(4))["opposite"].all()
    assert composition.classify_ends(paths, np.zeros(4, int))["neighbouring"].tolist() == [False, True, False, True]


def test_pieces_begin_at_every_step_and_stand_still_after_the_end():
    path = np.arange(8.0).reshape(1, 4, 2)
    pieces = composition.cut_pieces(path, 2)
    assert pieces[..., 0].tolist() == [[0, 2, 4], [2, 4, 6], [4, 6, 6], [6, 6, 6]]
    assert pieces[..., 1].tolist() == [[1, 3, 5], [3, 5, 7], [5, 7, 7], [7, 7, 7]]


def test_crossings_are_at_no_distance_from_themselves(crossings):
    row = composition.NearestCrossings(crossings[0]).measure(crossings[0])
    assert [estimate.value for estimate in row.values()] == [0, 0, 0]


def test_the_distance_is_the_root_mean_square_over_time():
    path = through((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))[None]
    row = composition.NearestCrossings(path).measure(path + np.array([0.3, 0.4]))
    assert row["path to data"].value == row["data to path"].value == pytest.approx(0.5)


def test_paths_composed_of_known_halves_are_far_from_the_data_only_as_a_whole(crossings, v_shaped):
    composed, corner = v_shaped
    assert composition.classify_ends(composed, corner)["neighbouring"].mean() > 0.95
    row = composition.NearestCrossings(crossings[0]).measure(composed)
    assert row["path to data"].value > 0.5 and row["half to data"].value < SPREAD


class Steadfast:
    """Always goes one step along x."""

    def reset(self, goal=None, seed=None, num_steps=None):
        self.seed, self.num_steps, self.seen = seed, num_steps, []

    def act(self, obs):
        self.seen.append(obs)
        return np.tile([0.1, 0.0], (len(obs), 1))


def test_an_action_is_added_to_the_position():
    agent, starts = Steadfast(), np.array([[0.0, 0.0], [1.0, 2.0]])
    paths = composition.roll_out_agent(agent, starts, seed=3)
    assert (agent.seed, agent.num_steps) == (3, CROSSING_STEPS) and paths.shape == (2, CROSSING_STEPS + 1, 2)
    assert paths[:, -1] == pytest.approx(starts + np.array([0.1 * CROSSING_STEPS, 0.0]))
    assert np.array_equal(np.stack(agent.seen, axis=1), paths[:, :-1])


def test_the_model_is_never_told_a_goal_and_its_horizon_is_a_crossing():
    recipe = composition.make_recipe(composition.QUICK, seed=2)
    assert recipe.training.goal_known == 0 and recipe.training.seed == 2
    assert recipe.model.horizon == CROSSING_STEPS


def test_the_figure_has_one_panel_for_each_set_of_paths(crossings):
    figure = composition.draw_paths({"data": crossings[0], "again": crossings[0]}, crossings[1])
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["data", "again"]
    assert "100% opposite" in figure.axes[0].get_title()


class Recalling(DiffusionForcing):
    """The optimal model of the data: it predicts the mean of all windows, weighted by their likelihoods."""

    BANDWIDTH = 0.05  # deviation around each window, in normalised units

    def __init__(self, paths):
        data = composition.make_dataset(paths)
        super().__init__(MODEL, Statistics.from_recording(Recording.from_rows(data)))
        sampler = WindowSampler(Recording.from_rows(data), MODEL, TrainingConfig(goal_on_the_way=0.0))
        self.windows = self.codec.encode_windows(sampler._cut_windows(sampler.starts, sampler.ends[sampler.starts]))
        self.backbone = Exact(self.predict_exactly)

    def predict_exactly(self, noisy, levels):
        alpha_bar = self.alpha_bar[levels[:1, START:]][..., None]  # (1, time, 1)
        deviation = (1 - alpha_bar + alpha_bar * self.BANDWIDTH**2).sqrt()
        seen, shown = noisy[:, START:] / deviation, alpha_bar.sqrt() * self.windows[:, START:] / deviation
        weights = (-torch.cdist(seen.flatten(1), shown.flatten(1)).square() / 2).softmax(dim=1)  # (batch, window)
        return torch.einsum("bw,wtc->btc", weights, self.windows)


def test_paths_end_in_the_opposite_corner_with_memory_and_also_in_others_without(tmp_path, monkeypatch):
    shown, _ = composition.draw_crossings(80, np.random.default_rng(0))
    monkeypatch.setattr(composition, "train_small_model", lambda *arguments, **settings: Recalling(shown).eval())
    settings = composition.Settings(steps=1, rollouts=40, crossings=80, pieces=(HALF,), sampling_steps=10)
    (rows,) = composition.study(settings, Run(seed=0, device="cpu", output=tmp_path)).tables.values()
    _, once, remembering, forgetting = rows
    assert once["opposite"].value >= 0.95 and remembering["opposite"].value >= 0.95
    assert forgetting["neighbouring"].value >= 0.25 and forgetting["elsewhere"].value <= 0.1
    assert remembering["path to data"].value < 0.1 < forgetting["path to data"].value


def test_the_study_compares_agents_with_and_without_memory_with_the_data(tmp_path):
    tiny = replace(MODEL, width=16, depth=1, num_heads=2)
    settings = composition.Settings(steps=2, rollouts=4, crossings=20, pieces=(HALF,), sampling_steps=1, model=tiny)
    findings = composition.study(settings, Run(seed=1, device="cpu", output=tmp_path))
    (rows,) = findings.tables.values()
    assert [(row["paths"], row["steps per plan"]) for row in rows] == [
        ("data", "-"),
        ("plans once", CROSSING_STEPS),
        ("with memory", HALF),
        ("without memory", HALF),
    ]
    assert rows[0]["opposite"].value == 1 and format_markdown_table(rows)
    assert len(findings.figures["paths"].axes) == 3
