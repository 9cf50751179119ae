import numpy as np
import pytest

from dfplan.envs.demonstrator import WaypointController, find_next_cells
from dfplan.envs.layouts import LAYOUTS, Layout
from dfplan.envs.physics import PointMassPhysics

CORRIDOR = Layout("#####\n#OOG#\n#####")


def walk(maze, start, goal):
    table, path = find_next_cells(LAYOUTS[maze]), [start]
    while path[-1] != goal:
        path.append(tuple(table[(*goal, *path[-1])].tolist()))
    return path


def test_the_path_through_umaze_is_the_only_one():
    assert walk("umaze", (3, 1), (1, 1)) == [(3, 1), (3, 2), (3, 3), (2, 3), (1, 3), (1, 2), (1, 1)]


def test_among_equally_short_paths_moves_along_y_come_first_as_in_d4rl():
    assert walk("open", (1, 1), (3, 3)) == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3)]
    assert walk("open", (3, 3), (1, 1)) == [(3, 3), (3, 2), (3, 1), (2, 1), (1, 1)]


def test_at_the_goal_and_without_a_path_the_next_cell_is_the_goal():
    table = find_next_cells(Layout("######\n#OO#G#\n######"))
    assert table[1, 4, 1, 4].tolist() == [1, 4]
    assert table[1, 4, 1, 1].tolist() == [1, 4]


def test_a_ball_in_a_wall_returns_to_a_free_cell():
    assert find_next_cells(CORRIDOR)[1, 3, 0, 2].tolist() == [1, 2]


def test_near_the_goal_the_action_is_the_pd_law():
    controller = WaypointController(CORRIDOR, 1)
    controller.reset(np.array([[1.08, 2.95]]))  # the controller aims at the goal's cell, not at the goal
    action = controller.act(np.array([[1.05, 3.02]]), np.array([[0.1, -0.3]]))
    np.testing.assert_allclose(action, [[10 * (1 - 1.05) - 0.1, 10 * (3 - 3.02) + 0.3]])


def test_a_goal_within_a_cell_leads_to_that_cell():
    controller = WaypointController(CORRIDOR, 1)
    controller.reset(np.array([[0.4, 2.4]]))  # nearer to the integers (0, 2), which lie in other squares
    assert controller.has_reached_goal(np.array([[1.0, 3.0]])).all()


def test_a_waypoint_is_up_to_two_tenths_before_its_cell():
    controller = WaypointController(CORRIDOR, 200, seeds=0)
    controller.reset(np.tile([1.0, 3.0], (200, 1)))
    positions = np.tile([0.9, 1.9], (200, 1))
    positions[:, 1] = 1.0
    velocities = 10 * (
        np.array([1.0, 2.0]) - positions
    )  # cancels the pull towards the cell: what is left is the offset
    offset = controller.act(positions, velocities) / 10  # clipped to ±1, so at most 0.1 shows
    assert (offset <= 0).all() and (offset >= -0.1).all() and offset.std() > 0.01


def test_an_action_points_at_the_waypoint_and_a_reached_waypoint_is_replaced():
    controller = WaypointController(CORRIDOR, 1, seeds=3)
    controller.reset(np.array([[1.0, 3.0]]))
    waypoint = np.array([[1.0, 2.0]]) - np.random.default_rng(3).uniform(0, 0.2, size=2)
    assert np.abs(controller.act(np.array([[1.0, 1.0]]), np.zeros((1, 2)))).max() == 1.0
    np.testing.assert_allclose(controller.act(waypoint + 0.05, np.zeros((1, 2))), -0.5)
    towards_goal = controller.act(np.array([[1.0, 2.95]]), np.zeros((1, 2)))
    np.testing.assert_allclose(towards_goal, [[0.0, 0.5]])


@pytest.mark.parametrize("maze", ["umaze", "large"])
def test_every_ball_reaches_its_goal_in_time(maze):
    layout = LAYOUTS[maze]
    goals = layout.free_cells.astype(np.float64)
    controller, physics = WaypointController(layout, len(goals)), PointMassPhysics(layout)
    states = np.zeros((len(goals), 4))
    states[:, :2] = layout.free_cells[0]
    controller.reset(goals)
    reached = np.zeros(len(goals), dtype=bool)
    for _ in range(650):
        reached |= controller.has_reached_goal(states[:, :2])
        states = physics.step(states, controller.act(states[:, :2], states[:, 2:]))
    assert reached.all()
    assert (np.abs(states[:, :2] - goals) < 0.1).all(), "and stays there"


def test_the_actions_of_a_ball_depend_on_its_own_seed_only():
    def path(seeds, ball):
        layout = LAYOUTS["umaze"]
        controller, physics = WaypointController(layout, len(seeds), seeds), PointMassPhysics(layout)
        controller.reset(np.tile([1.0, 1.0], (len(seeds), 1)))
        states = np.tile([3.0, 1.0, 0.0, 0.0], (len(seeds), 1))
        for _ in range(100):
            states = physics.step(states, controller.act(states[:, :2], states[:, 2:]))
        return states[ball]

    assert (path([4, 5, 6], 1) == path([5], 0)).all()
    assert (path([4, 5, 6], 1) != path([6], 0)).any()


def test_each_ball_needs_a_seed():
    with pytest.raises(ValueError, match="2 seeds for 3"):
        WaypointController(CORRIDOR, 3, seeds=[1, 2])
