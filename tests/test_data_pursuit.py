import numpy as np

from dfplan.agents.controllers import Pursuit
from dfplan.data import reexecution
from dfplan.data.pursuit import SEARCH_WINDOW, advance, push_towards
from dfplan.task import MAZE, Task

LINE = np.stack([np.arange(100.0), np.zeros(100)], axis=1)  # row r is the position (r, 0)


def test_the_nearest_row_is_found_together_with_its_distance():
    row, distance = advance(LINE, np.array([0, 0]), np.array([99, 99]), np.array([[7.0, 3.0], [0.0, 0.0]]))
    assert row.tolist() == [7, 0] and distance.tolist() == [3.0, 0.0]


def test_progress_never_goes_back_and_stays_within_the_search_window_and_the_path():
    progress, last = np.array([20, 20, 90]), np.array([99, 99, 95])
    row, _ = advance(LINE, progress, last, np.array([[5.0, 0.0], [80.0, 0.0], [99.0, 0.0]]))
    assert row.tolist() == [20, 20 + SEARCH_WINDOW - 1, 95]


def test_the_push_is_ten_times_the_distance_plus_the_difference_of_velocities_within_one():
    targets = np.array([[0.02, 0.0, 0.1, 0.0], [5.0, -5.0, 0.0, 0.0]])
    np.testing.assert_allclose(push_towards(targets, np.zeros((2, 4)), MAZE), [[0.3, 0.0], [1.0, -1.0]])


def test_a_plan_and_a_recording_of_the_same_states_are_pursued_by_the_same_actions():
    random = np.random.default_rng(0)
    recorded = np.cumsum(random.normal(scale=0.05, size=(150, 4)), axis=0)
    recorded[-1, 2:] = 0  # a re-execution comes to rest at its goal, so the plan does too
    motion = reexecution.Motion(np.full(2, 0.99), np.full(2, 0.2), np.full(2, 0.01), max_velocity=5.0)
    rows = np.array([0]), np.array([149])
    states, actions = reexecution._pursue(motion, recorded, recorded[:1], *rows, max_steps=60)
    controller = Pursuit(recorded[None], None, MAZE, reexecution.LOOKAHEAD)
    for step in range(60):
        np.testing.assert_array_equal(controller.act(states[:, step]), actions[:, step])


def test_where_actions_move_positions_a_near_target_is_reached_in_one_step_and_a_far_one_at_full_speed():
    task = Task(2, 2, (-2.0, -2.0), (2.0, 2.0), position=(0, 1), step_length=(0.4, 0.4))
    offsets = np.array([[0.1, -0.2], [9.0, -9.0]])
    actions = push_towards(offsets, np.zeros((2, 2)), task)
    np.testing.assert_allclose(actions, [[0.5, -1.0], [2.0, -2.0]])
