import numpy as np
import pytest

from dfplan.benchmarks.evaluation.consistency import (
    EnergyCoefficient,
    Judge,
    find_diverged,
    measure_one_step_errors,
    measure_wall_distance,
)
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.physics import PointMassPhysics

LAYOUT = LAYOUTS["umaze"]


@pytest.fixture
def motion():
    """Three balls pushed along the lower corridor for eight steps: states (path, 9, 4), actions (path, 8, 2)."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (3, 8, 2))
    states = [np.array([[2.8, 1.2, 0.0, 1.0], [2.9, 1.5, 0.0, 0.5], [2.8, 2.0, 0.0, -0.5]])]
    for step in range(8):
        states.append(PointMassPhysics(LAYOUT).step(states[-1], actions[:, step]))
    return np.stack(states, axis=1), actions


def test_motion_by_the_physics_has_no_one_step_error(motion):
    position, velocity = measure_one_step_errors(LAYOUT, *motion)
    assert position.shape == (3, 8) and position.max() < 1e-12 and velocity.max() < 1e-12


def test_a_jump_is_a_one_step_error_of_its_length(motion):
    states, actions = motion
    states[:, -1] += [0.03, 0.04, 0.6, 0.8]
    position, velocity = measure_one_step_errors(LAYOUT, states, actions)
    assert position[:, -1] == pytest.approx(0.05) and velocity[:, -1] == pytest.approx(1.0)
    assert position[:, :-1].max() < 1e-12


@pytest.mark.parametrize(
    ("position", "distance"),
    [((0.8, 0.8), 0.5), ((0.8, 0.4), 0.1), ((2.8, 1.0), 0.5), ((1.8, 0.8), 0.0), ((1.2, 2.2), 0.1), ((-5.0, 0.8), 0.0)],
)
def test_the_distance_to_the_nearest_wall_is_0_inside_of_one_and_outside_of_the_maze(position, distance):
    assert measure_wall_distance(LAYOUT, np.array(position)) == pytest.approx(distance)


def test_paths_that_leave_the_maze_or_exceed_the_highest_velocity_have_diverged(motion):
    states = motion[0]
    assert find_diverged(LAYOUT, states).tolist() == [False, False, False]
    states[0, 4, 0], states[1, 8, 3] = 4.4, -10.1
    assert find_diverged(LAYOUT, states).tolist() == [True, True, False]


def test_the_energy_coefficient_of_two_points_by_hand():
    points = np.array([0.0, 2.0]).reshape(2, 1, 1) * [1.0, 0.0, 0.0, 0.0]  # (path, time, 4)
    found = EnergyCoefficient.from_paths(points, points)
    assert found.between.tolist() == [1, 1] and found.within.tolist() == [[0, 2], [2, 0]] and found.reference == 2
    assert found.estimate().value == pytest.approx((2 * 1 - 2 - 2) / (2 * 1))


def test_the_energy_coefficient_is_1_for_different_constants_and_near_0_for_equal_distributions():
    rng = np.random.default_rng(0)
    here, there = np.zeros((5, 3, 4)), np.ones((5, 3, 4))
    assert EnergyCoefficient.from_paths(here, there).estimate().value == pytest.approx(1)
    drawn = rng.normal(size=(3, 60, 4, 4))
    same = EnergyCoefficient.from_paths(drawn[0], drawn[1]).estimate()
    shifted = EnergyCoefficient.from_paths(drawn[0] + 0.5, drawn[1]).estimate()
    assert abs(same.value) < 0.01 and same.low < 0 < same.high
    assert shifted.low > 0.02 and shifted.low < shifted.value < shifted.high


def test_errors_at_joints_are_measured_separately_from_those_within_tokens(motion):
    states, actions = motion
    states[:, 5:] += [0.01, 0.0, 0.0, 0.0]  # a jump in step 4, the first of the third token of two steps
    judge = Judge(LAYOUT, states, frame_stack=2)
    measures = judge.measure(states, actions)
    assert measures["position error"].value == pytest.approx(0.01 / 8, rel=1e-3)
    assert measures["position error, joints"].value == pytest.approx(0.01 / 4, rel=1e-3)
    assert judge.measure(states, actions, first=3)["position error, joints"].value == pytest.approx(0.005, rel=1e-3)
    assert judge.measure(states, actions, first=5)["position error"].value == pytest.approx(0, abs=1e-9)


def test_positions_in_walls_and_touching_walls_are_counted(motion):
    states, actions = motion
    judge = Judge(LAYOUT, states.copy(), frame_stack=2)
    assert judge.measure(states, actions)["touching"].value == 0
    states[0, 1:, :2], states[1, 5:, :2] = (1.8, 0.8), (2.8, 0.35)
    measures = judge.measure(states, actions)
    assert measures["in a wall"].value == pytest.approx(1 / 3)
    assert measures["touching"].value == pytest.approx((1 + 1 / 2) / 3)
