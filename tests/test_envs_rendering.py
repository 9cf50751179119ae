import numpy as np

from dfplan.envs.layouts import LAYOUTS, Layout
from dfplan.envs.rendering import BALL, FLOOR, GOAL, GOAL_HALO, TRAIL_COLOURS, WALL, draw_maze

CELL = 80


def pixel(picture, x, y):
    """The colour at a position in environment units."""
    row, column = (int((value + 0.7) * CELL) for value in (x, y))
    return tuple(picture[row, column].tolist())


def is_near(colour, expected):
    return np.abs(np.subtract(colour, expected)).max() < 12


def test_a_picture_has_the_shape_of_the_text():
    assert draw_maze(LAYOUTS["large"], cell_pixels=CELL).shape == (9 * CELL, 12 * CELL, 3)


def test_walls_floor_goal_ball_and_trail_are_where_they_should_be():
    trail = np.stack([np.full(50, 3.0), np.linspace(1.0, 3.0, 50)], axis=1)
    picture = draw_maze(LAYOUTS["umaze"], np.array([1.0, 1.1]), np.array([2.0, 3.0]), trail, CELL)
    assert pixel(picture, 0, 0) == WALL and pixel(picture, 1.8, 1.8) == WALL
    assert pixel(picture, 0.5, 3.0) == FLOOR
    assert is_near(pixel(picture, 1.0, 1.0), GOAL) and pixel(picture, 0.75, 0.85) == GOAL_HALO
    assert pixel(picture, 2.05, 3.05) == BALL
    assert is_near(pixel(picture, 3.0, 1.02), TRAIL_COLOURS[0])
    assert is_near(pixel(picture, 3.0, 2.98), TRAIL_COLOURS[-1])


def test_an_empty_trail_and_a_single_cell_can_be_drawn():
    layout = Layout("###\n#O#\n###")
    assert draw_maze(layout, trail=np.zeros((0, 2)), cell_pixels=8).shape == (24, 24, 3)
