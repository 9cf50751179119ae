from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dfplan.benchmarks import cue_maze
from dfplan.benchmarks.ablation import Run
from dfplan.benchmarks.charts import COLOURS
from dfplan.benchmarks.cue_maze import ENDS, LAYOUT, STARTS, Recall, Settings, generate, recall, recall_figure, study
from dfplan.config import ModelConfig
from dfplan.data import segment_ends
from dfplan.envs.controller import WaypointController
from dfplan.envs.demonstrations import COLUMNS

TINY = Settings(
    demonstrations=2,
    training_steps=2,
    episodes=2,
    histories=(0, 1),
    open_loop_horizon=20,
    model=ModelConfig(num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2),
)


@pytest.fixture(scope="module")
def demonstrations():
    return generate(4, seed=3)


class Guide:
    """Knows the way: drives each ball to the end of a cue, its own or the other one's."""

    def __init__(self, mistaken=False):
        self.mistaken = mistaken

    def reset(self, goal=None, seed=None, num_steps=None):
        self.seed, self.controller = seed, None

    def act(self, obs):
        if self.controller is None:
            cues = np.arange(len(obs)) % 2
            self.controller = WaypointController(LAYOUT, len(obs), self.seed)
            self.controller.reset(ENDS[1 - cues if self.mistaken else cues])
        return self.controller.act(obs[:, :2], obs[:, 2:])


class Still:
    """Never moves."""

    def reset(self, goal=None, seed=None, num_steps=None):
        self.goal = goal

    def act(self, obs):
        return np.zeros((len(obs), 2), dtype=np.float32)


def test_both_ways_share_all_cells_between_the_starts_row_and_the_ends_row():
    stem = LAYOUT.free_cells[(LAYOUT.free_cells[:, 0] > STARTS[0, 0]) & (LAYOUT.free_cells[:, 0] < ENDS[0, 0])]
    np.testing.assert_array_equal(stem, [(2, 2), (3, 2), (4, 2), (5, 2)])
    assert (ENDS[:, 1] == STARTS[::-1, 1]).all()  # the far side


def test_a_demonstration_is_one_segment_from_its_cues_start_to_the_end_on_the_other_side(demonstrations):
    last = np.unique(segment_ends(demonstrations))
    first = np.concatenate([[0], last[:-1] + 1])
    np.testing.assert_array_equal(np.flatnonzero(demonstrations["timeouts"]), last)
    positions = demonstrations["observations"][:, :2]
    assert np.abs(positions[first] - STARTS[[0, 1, 0, 1]]).max() <= 0.1
    assert np.linalg.norm(positions[last] - ENDS[[0, 1, 0, 1]], axis=1).max() < 0.1


def test_demonstrations_have_d4rls_columns_and_say_nothing_of_reward(demonstrations):
    rows = len(demonstrations["observations"])
    for key, (width, dtype) in COLUMNS.items():
        assert demonstrations[key].shape == ((rows,) if width is None else (rows, width))
        assert demonstrations[key].dtype == dtype
    assert not demonstrations["rewards"].any()
    states = np.concatenate([demonstrations["infos/qpos"], demonstrations["infos/qvel"]], axis=1)
    np.testing.assert_array_equal(states, demonstrations["observations"])


def test_demonstrations_depend_on_the_seed_only():
    first, again, other = (generate(1, seed)["actions"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:50], other[:50])


def test_the_end_that_is_reached_first_counts():
    right_then_wrong = [STARTS[0], ENDS[0], ENDS[0], ENDS[1]]
    nowhere, wrong = [STARTS[1]] * 4, [STARTS[1], (3.0, 2.0), (3.0, 2.0), ENDS[0]]
    found = Recall.of(np.array([0, 1, 1]), np.array([right_then_wrong, nowhere, wrong]))
    np.testing.assert_array_equal(found.taken, [0, -1, 0])
    np.testing.assert_array_equal(found.arrivals, [1, 3, 3])
    shares = {outcome: share.value for outcome, share in found.shares().items()}
    assert shares == pytest.approx({"right branch": 1 / 3, "wrong branch": 1 / 3, "neither": 1 / 3})


@pytest.mark.parametrize(
    ("agent", "outcome"), [(Guide(), "right branch"), (Guide(mistaken=True), "wrong branch"), (Still(), "neither")]
)
def test_an_agent_is_judged_by_the_branch_it_takes(agent, outcome):
    found = recall(agent, episodes=4, seed=0, num_steps=220)
    assert found.paths.shape == (4, 221, 2) and found.shares()[outcome].value == 1
    np.testing.assert_array_equal(found.paths[:, 0].round(), STARTS[[0, 1, 0, 1]])


def test_more_episodes_begin_with_the_same_ones():
    few, many = (recall(Still(), episodes, seed=5, num_steps=1) for episodes in (2, 4))
    np.testing.assert_array_equal(few.paths, many.paths[:2])


def test_contenders_differ_in_their_history_only_and_one_plans_once():
    contenders = TINY.contenders
    assert {name: own["history"] for name, own in contenders.items()} == {
        "memoryless": 0,
        "10 steps of history": 1,
        "whole past": 3,
        "one plan": 0,
    }
    assert [own["open_loop_horizon"] for own in contenders.values()] == [20, 20, 20, None]


def test_a_study_trains_one_unconditional_model_for_all_contenders(tmp_path, monkeypatch):
    seen = []

    class Watched(cue_maze.DFPlanner):
        def act(self, observation, observation_level=None):
            seen.append((self.model, self._goal, self.config.goal_token))
            return super().act(observation, observation_level)

    monkeypatch.setattr(cue_maze, "DFPlanner", Watched)
    recalls = study(TINY, Run(0, "cpu", tmp_path))
    assert list(recalls) == list(TINY.contenders)
    assert all(found.paths.shape == (2, 81, 2) for found in recalls.values())
    assert len({id(model) for model, _, _ in seen}) == 1
    assert {(goal, token) for _, goal, token in seen} == {(None, False)}


def test_the_figure_shows_each_way_up_to_its_arrival_in_the_colour_of_its_cue():
    paths = np.array([[STARTS[0], ENDS[0], (3.0, 2.0)], [STARTS[1], (3.0, 2.0), (3.0, 2.0)]])
    found = Recall.of(np.array([0, 1]), paths)
    figure = recall_figure({"a": found, "b": replace(found)})
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["a", "b"]
    drawn = figure.axes[0].collections
    assert [len(lines.get_segments()) for lines in drawn] == [1, 2]
    for lines, colour in zip(drawn, COLOURS):
        lines.update_scalarmappable()
        np.testing.assert_allclose(lines.get_colors()[0, :3], to_rgb(colour))
