from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.benchmarks import futures
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.benchmarks.worlds import gust_maze
from dfplan.benchmarks.worlds.gust_maze import (
    CALM_LAYOUT,
    CARRY_STEPS,
    GOAL,
    HOLLOWS,
    LAYOUT,
    START,
    WAYS,
    WINDY_CELL,
    GustPhysics,
    assign_ways,
    generate_gust_demonstrations,
    run_gust_maze,
    summarize_outcomes,
)
from dfplan.config import ModelConfig
from dfplan.data.recording import Recording
from dfplan.data.segments import find_segment_ends
from dfplan.envs.demonstrations import COLUMNS
from dfplan.envs.demonstrator import WaypointController
from dfplan.envs.physics import PointMassPhysics

TINY = futures.Settings(
    training_steps=2,
    episodes=2,
    futures=(1, 2),
    training_seeds=(0,),
    future_steps=(1, 2),
    promised_steps=(1, 2),
    demonstrations=4,
    promised=4,
    sampling_steps=2,
    uncertainty_scale=1.0,
    model=ModelConfig(frame_stack=20, num_tokens=2, num_levels=100, width=16, depth=1, num_heads=2, causal=True),
)


@pytest.fixture(scope="module")
def demonstrations():
    return generate_gust_demonstrations(24, seed=3)


def coins(count, seed=0):
    return [np.random.default_rng([seed, ball]) for ball in range(count)]


def still(position, count):
    return np.tile([*position, 0.0, 0.0], (count, 1))


class Follower:
    """Follows the shortest path to the goal in a layout."""

    def __init__(self, layout):
        self.layout = layout

    def reset(self, goal=None, seed=None, num_steps=None):
        self.controller = WaypointController(self.layout, len(goal), seed)
        self.controller.reset(goal)

    def act(self, obs):
        return self.controller.act(obs[:, :2], obs[:, 2:])


def test_the_mean_of_both_outcomes_of_the_gust_is_the_goal():
    np.testing.assert_array_equal(HOLLOWS.mean(axis=0), GOAL)
    assert np.linalg.norm(HOLLOWS - GOAL, axis=1).tolist() == [4, 4]


def test_hollows_are_closed_and_the_calm_maze_lacks_only_the_windy_cell():
    for x, y in HOLLOWS.astype(int):
        assert not LAYOUT.walls[x, y]
        assert LAYOUT.walls[[x - 1, x + 1, x, x], [y, y, y - 1, y + 1]].all()
    np.testing.assert_array_equal(np.argwhere(LAYOUT.walls != CALM_LAYOUT.walls), [WINDY_CELL])


def test_a_ball_in_the_windy_cell_is_carried_to_a_hollow_whatever_its_actions():
    physics, states = GustPhysics(coins(8)), still(WINDY_CELL, 8)
    paths = [states[:, :2]]
    for step in range(CARRY_STEPS):
        states = physics.step(states, np.random.default_rng(step).uniform(-1, 1, (8, 2)))
        paths.append(states[:, :2])
    assert set(physics.hollow) == {0, 1}
    np.testing.assert_allclose(states, np.pad(HOLLOWS[physics.hollow], ((0, 0), (0, 2))), atol=1e-9)
    lengths = np.linalg.norm(np.diff(paths, axis=0), axis=2)  # (step, ball)
    np.testing.assert_allclose(lengths, lengths[0, 0])


def test_outside_the_windy_cell_a_ball_moves_as_in_other_mazes():
    physics, states, actions = GustPhysics(coins(2)), still(START, 2), np.array([[0.0, -1.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(physics.step(states, actions), PointMassPhysics(LAYOUT).step(states, actions))
    assert physics.hollow.tolist() == [-1, -1]


def test_every_ball_has_its_own_coin():
    alone, beside = GustPhysics(coins(1)), GustPhysics(coins(5))
    for physics, count in ((alone, 1), (beside, 5)):
        physics.step(still(WINDY_CELL, count), np.zeros((count, 2)))
    assert alone.hollow[0] == beside.hollow[0]


def test_demonstrations_take_both_ways_and_the_windy_one_ends_in_both_hollows(demonstrations):
    last = np.unique(find_segment_ends(Recording.from_rows(demonstrations)))
    np.testing.assert_array_equal(np.flatnonzero(demonstrations["timeouts"]), last)
    ends, ways = demonstrations["observations"][last, :2], assign_ways(24)
    calm = ways == WAYS.index("calm")
    assert calm.sum() == 6
    assert np.linalg.norm(ends[calm] - GOAL, axis=1).max() < 0.1
    assert {tuple(end) for end in ends[~calm].round(3)} == {(1.0, 1.0), (1.0, 9.0)}


def test_the_calm_way_is_longer_by_about_the_factor_by_which_the_windy_way_is_more_frequent(demonstrations):
    last = np.unique(find_segment_ends(Recording.from_rows(demonstrations)))
    rows = np.diff(last, prepend=-1)
    calm = assign_ways(24) == WAYS.index("calm")
    assert 1.8 < rows[calm].mean() / rows[~calm].mean() < 3


def test_demonstrations_have_d4rls_columns_and_depend_on_the_seed_only(demonstrations):
    for key, (width, dtype) in COLUMNS.items():
        assert demonstrations[key].dtype == dtype
        assert demonstrations[key].shape[1:] == (() if width is None else (width,))
    first, again, other = (generate_gust_demonstrations(1, seed)["actions"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:50], other[:50])


@pytest.mark.parametrize(("layout", "carried", "success"), [(LAYOUT, 1, 0), (CALM_LAYOUT, 0, 1)])
def test_an_agent_succeeds_if_it_ends_at_the_goal_and_the_windy_way_never_does(layout, carried, success):
    found = run_gust_maze(Follower(layout), episodes=6, seed=0, num_steps=280)
    assert found.paths.shape == (6, 281, 2)
    row = summarize_outcomes([found])
    assert (row["carried off"].value, row["success"].value) == (carried, success)


def test_more_episodes_begin_with_the_same_ones():
    few, many = (run_gust_maze(Follower(LAYOUT), episodes, seed=5, num_steps=80) for episodes in (2, 4))
    np.testing.assert_array_equal(few.paths, many.paths[:2])
    np.testing.assert_array_equal(few.hollow, many.hollow[:2])


def test_plans_continue_the_first_token_of_a_demonstration(tiny_causal, demonstrations):
    starts, shown = futures.cut_segments(demonstrations, tiny_causal.config.horizon)
    paths = futures.continue_plans(tiny_causal, starts, shown, steps=2, seed=0)
    assert paths.shape == (24, 40, 2)
    np.testing.assert_allclose(paths[:, :20], shown.observations[:, :20, :2], atol=1e-4)


@pytest.fixture
def tiny_causal(demonstrations):
    from dfplan.data.trajectories import Statistics
    from dfplan.model.diffusion_forcing import DiffusionForcing

    torch.manual_seed(0)
    return DiffusionForcing(TINY.model, Statistics.from_recording(Recording.from_rows(demonstrations))).eval()


def test_balls_rest_after_the_end_of_their_segment(demonstrations):
    _, shown = futures.cut_segments(demonstrations, 280)
    last = demonstrations["observations"][np.unique(find_segment_ends(Recording.from_rows(demonstrations))), :2]
    np.testing.assert_array_equal(shown.observations[:, -1, :2], last)


def test_the_study_compares_one_model_with_all_numbers_of_futures(tmp_path, monkeypatch):
    seen = []

    class Watched(futures.DFPlanner):
        def __init__(self, model, config):
            seen.append((model, config.guidance.guide, config.guidance.future_steps, config.guidance.num_futures))
            super().__init__(model, config)

    monkeypatch.setattr(futures, "DFPlanner", Watched)
    found = futures.study(replace(TINY, model=replace(TINY.model, num_tokens=3)), Run(0, "cpu", tmp_path))
    assert len({id(model) for model, *_ in seen}) == 1
    guided = [("goal_distance", steps, number) for steps in (1, 2) for number in (1, 2)]
    assert [case for _, *case in seen] == [[None, 1, 1], *map(list, guided)]
    scores, promises = found.tables.values()
    assert len(scores) == 5 and [row["way"] for row in promises] == list(gust_maze.WAYS)
    assert list(promises[0]) == ["way", "mean future", "2 steps", "what happened"]
    assert [len(axes.lines) > 0 for axes in found.figures["futures"].axes] == [True] * 4
