import numpy as np
import pytest

from dfplan.benchmarks.worlds.cue_maze import (
    ENDS,
    LAYOUT,
    STARTS,
    CueOutcome,
    generate_cue_demonstrations,
    run_cue_maze,
)
from dfplan.data.recording import Recording
from dfplan.data.segments import find_segment_ends
from dfplan.envs.demonstrations import COLUMNS
from dfplan.envs.demonstrator import WaypointController


@pytest.fixture(scope="module")
def demonstrations():
    return generate_cue_demonstrations(4, seed=3)


class Guide:
    """Drives each ball to the end of its cue or, if ``mistaken``, to the other end."""

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


def test_both_ways_share_all_cells_between_the_row_of_starts_and_the_row_of_ends():
    stem = LAYOUT.free_cells[(LAYOUT.free_cells[:, 0] > STARTS[0, 0]) & (LAYOUT.free_cells[:, 0] < ENDS[0, 0])]
    np.testing.assert_array_equal(stem, [(2, 2), (3, 2), (4, 2), (5, 2)])
    assert (ENDS[:, 1] == STARTS[::-1, 1]).all()  # the far side


def test_a_demonstration_is_one_segment_from_the_start_of_its_cue_to_the_end_on_the_other_side(demonstrations):
    last = np.unique(find_segment_ends(Recording.from_rows(demonstrations)))
    first = np.concatenate([[0], last[:-1] + 1])
    np.testing.assert_array_equal(np.flatnonzero(demonstrations["timeouts"]), last)
    positions = demonstrations["observations"][:, :2]
    assert np.abs(positions[first] - STARTS[[0, 1, 0, 1]]).max() <= 0.1
    assert np.linalg.norm(positions[last] - ENDS[[0, 1, 0, 1]], axis=1).max() < 0.1


def test_demonstrations_have_d4rls_columns_and_no_rewards(demonstrations):
    rows = len(demonstrations["observations"])
    for key, (width, dtype) in COLUMNS.items():
        assert demonstrations[key].shape == ((rows,) if width is None else (rows, width))
        assert demonstrations[key].dtype == dtype
    assert not demonstrations["rewards"].any()
    states = np.concatenate([demonstrations["infos/qpos"], demonstrations["infos/qvel"]], axis=1)
    np.testing.assert_array_equal(states, demonstrations["observations"])


def test_demonstrations_depend_on_the_seed_only():
    first, again, other = (generate_cue_demonstrations(1, seed)["actions"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:50], other[:50])


def test_the_branch_whose_end_is_reached_first_counts():
    right_then_wrong = [STARTS[0], ENDS[0], ENDS[0], ENDS[1]]
    nowhere, wrong = [STARTS[1]] * 4, [STARTS[1], (3.0, 2.0), (3.0, 2.0), ENDS[0]]
    found = CueOutcome.from_paths(np.array([0, 1, 1]), np.array([right_then_wrong, nowhere, wrong]))
    np.testing.assert_array_equal(found.taken, [0, -1, 0])
    np.testing.assert_array_equal(found.arrivals, [1, 3, 3])
    shares = {outcome: share.value for outcome, share in found.estimate_shares().items()}
    assert shares == pytest.approx({"right branch": 1 / 3, "wrong branch": 1 / 3, "neither": 1 / 3})


@pytest.mark.parametrize(
    ("agent", "outcome"), [(Guide(), "right branch"), (Guide(mistaken=True), "wrong branch"), (Still(), "neither")]
)
def test_the_outcome_of_an_agent_is_the_branch_that_it_takes(agent, outcome):
    found = run_cue_maze(agent, episodes=4, seed=0, num_steps=220)
    assert found.paths.shape == (4, 221, 2) and found.estimate_shares()[outcome].value == 1
    np.testing.assert_array_equal(found.paths[:, 0].round(), STARTS[[0, 1, 0, 1]])


def test_more_episodes_begin_with_the_same_ones():
    few, many = (run_cue_maze(Still(), episodes, seed=5, num_steps=1) for episodes in (2, 4))
    np.testing.assert_array_equal(few.paths, many.paths[:2])
