import numpy as np
import pytest

from dfplan.benchmarks.evaluation.kinematic_limit import (
    SPACING,
    compute_kinematic_limit,
    count_steps_to_goal,
    find_free_points,
)
from dfplan.envs.layouts import LAYOUTS, Layout
from dfplan.ground.errors import InputError

CORRIDOR = Layout("#######\n#G    #\n#######")


def index(position):
    return round((position + 0.7) / SPACING - 0.5)


def test_a_straight_path_takes_its_length_minus_the_goals_radius_at_velocity_5():
    steps = count_steps_to_goal(find_free_points(CORRIDOR), np.array([1.0, 1.0]))
    assert steps[index(1.0), index(1.0)] == 0 and steps[index(1.0), index(1.4)] == 0
    assert steps[index(1.0), index(4.0)] == pytest.approx((3.0 - 0.5) / 0.05, abs=1)


def test_the_ball_keeps_its_radius_from_the_walls():
    free = find_free_points(CORRIDOR)
    across = np.flatnonzero(free[:, index(3.0)]) * SPACING - 0.7 + SPACING / 2  # positions where the ball fits
    assert across[0] == pytest.approx(0.4, abs=SPACING) and across[-1] == pytest.approx(1.2, abs=SPACING)


def test_a_diagonal_step_moves_along_both_axes_at_once():
    room = Layout("######\n#G   #\n#    #\n#    #\n#    #\n######")
    steps = count_steps_to_goal(find_free_points(room), np.array([1.0, 1.0]))
    assert steps[index(4.0), index(4.0)] == pytest.approx((3.0 - 0.5 / np.sqrt(2)) / 0.05, abs=1.5)  # one grid point


def test_a_walled_off_cell_cannot_be_reached():
    steps = count_steps_to_goal(find_free_points(Layout("#####\n#G# #\n#####")), np.array([1.0, 1.0]))
    assert steps[index(1.0), index(3.0)] == -1


@pytest.mark.parametrize(("maze", "limit"), [("umaze", 174.8), ("medium", 192.7), ("large", 256.5)])
def test_the_limits_of_the_mazes(maze, limit):
    assert compute_kinematic_limit(maze) == pytest.approx(limit, abs=0.1)


def test_a_maze_without_reference_scores_has_no_limit(monkeypatch):
    monkeypatch.setitem(LAYOUTS, "own", Layout("####\n#GO#\n####", "own"))
    with pytest.raises(InputError, match="the maze own has no reference scores"):
        compute_kinematic_limit("own")


def test_the_limit_of_an_unknown_maze_is_answered_with_near_ones():
    with pytest.raises(InputError, match="did you mean"):
        compute_kinematic_limit("larg")
