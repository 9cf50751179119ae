import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dfplan.envs.datasets import read_hdf5
from dfplan.envs.layouts import LAYOUTS, Layout
from dfplan.envs.physics import BALL_RADIUS, PointMassPhysics

GOLDEN_TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def umaze():
    return PointMassPhysics(LAYOUTS["umaze"])


def recorded(file):
    """Return the states and actions that D4RL recorded, from tests/data or from a folder with more rows."""
    if file.endswith("-first20k.hdf5"):
        folder = os.environ.get("DFPLAN_D4RL_ROWS")
        if not folder:
            pytest.skip("DFPLAN_D4RL_ROWS names no folder with 20,000 rows recorded by D4RL")
    else:
        folder = Path(__file__).parent / "data"
    rows = read_hdf5(Path(folder) / file)
    return np.concatenate([rows["infos/qpos"], rows["infos/qvel"]], axis=1).astype(np.float64), rows["actions"]


@pytest.mark.parametrize("rows", ["100rows", "sparse-v1-first20k"])
@pytest.mark.parametrize("maze", ["umaze", "large"])
def test_every_recorded_d4rl_transition_is_reproduced(maze, rows):
    states, actions = recorded(f"maze2d-{maze}-{rows}.hdf5")
    stepped = PointMassPhysics(LAYOUTS[maze]).step(states[:-1], actions[:-1])
    assert np.abs(stepped - states[1:]).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("maze", ["umaze", "large"])
def test_the_recorded_rows_contain_a_contact_that_physics_without_walls_misses(maze):
    states, actions = recorded(f"maze2d-{maze}-100rows.hdf5")
    assert len(states) == 100
    middle = np.concatenate([np.full((99, 2), 5.5), states[:-1, 2:]], axis=1)  # far from all walls of a large room
    room = PointMassPhysics(Layout("\n".join(["#" * 12, *["#" + " " * 10 + "#"] * 9, "#G" + " " * 9 + "#", "#" * 12])))
    missed = np.abs(room.step(middle, actions[:-1])[:, 2:] - states[1:, 2:]).max(axis=1) > 0.1
    assert 1 <= missed.sum() <= 3


def test_a_push_accelerates_by_force_over_mass_less_damping(umaze):
    mass = 1000 * 4 / 3 * np.pi * BALL_RADIUS**3
    # Euler with implicit damping 1: (mass + 0.01 * 1) * change = 0.01 * (100 * action - 1 * velocity)
    velocity = 1.0 + 0.01 * (100 * 0.5 - 1.0) / (mass + 0.01)
    stepped = umaze.step(np.array([[1.0, 2.0, 1.0, 0.0]]), np.array([[0.5, 0.0]]))
    np.testing.assert_allclose(stepped, [[1.0 + 0.01 * velocity, 2.0, velocity, 0.0]], atol=1e-12)


def test_velocity_is_clipped_before_the_step_and_actions_to_one(umaze):
    wild = umaze.step(np.array([[1.0, 2.0, 0.0, 9.0]]), np.array([[0.0, 7.0]]))
    clipped = umaze.step(np.array([[1.0, 2.0, 0.0, 5.0]]), np.array([[0.0, 1.0]]))
    assert (wild == clipped).all()
    assert clipped[0, 3] > 5.0


def test_a_ball_pressed_against_a_wall_stays_outside_of_it(umaze):
    state = np.array([[1.0, 1.0, -3.0, 0.0]])
    for _ in range(200):
        state = umaze.step(state, np.array([[-1.0, 0.0]]))
    wall_face = 1 - 0.2 - 0.5  # cell (1, 1) ends here
    assert abs(state[0, 0] - (wall_face + BALL_RADIUS)) < 0.01


def test_a_ball_moves_the_same_alone_and_among_others(umaze):
    random = np.random.default_rng(0)
    states = np.concatenate([random.uniform(0.4, 1.2, (50, 2)), random.normal(0, 3, (50, 2))], axis=1)
    actions = random.uniform(-1, 1, (50, 2))
    together = umaze.step(states, actions)
    alone = np.concatenate([umaze.step(states[[ball]], actions[[ball]]) for ball in range(50)])
    assert (together == alone).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda physics: pickle.loads(pickle.dumps(physics))])
def test_physics_can_be_copied_and_pickled(umaze, duplicate):
    state, action = np.array([[1.0, 1.0, 2.0, 2.0]]), np.array([[0.3, -0.4]])
    assert (duplicate(umaze).step(state, action) == umaze.step(state, action)).all()
