"""Pictures of a maze from above, drawn without OpenGL.

They have the orientation of the layout's text: x points downwards, y points to the right.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.envs.maze_task import GOAL_RADIUS
from dfplan.envs.physics import BALL_RADIUS

CELL_PIXELS = 48
OVERSAMPLING = 3  # pictures are drawn larger by this factor and then scaled down, which smooths the edges
Colour = tuple[int, int, int]
FLOOR: Colour = (247, 246, 242)
FLOOR_LINE: Colour = (232, 230, 223)
WALL: Colour = (58, 66, 82)
WALL_EDGE: Colour = (41, 47, 60)
BALL: Colour = (33, 102, 214)
BALL_SHINE: Colour = (150, 190, 250)
GOAL: Colour = (214, 62, 62)
GOAL_HALO: Colour = (250, 224, 220)
TRAIL_COLOURS: tuple[Colour, ...] = ((255, 190, 60), (222, 86, 140), (33, 102, 214))  # at equal intervals of time
TRAIL_WIDTH = 0.07  # environment units
GOAL_MARK_RADIUS = 0.14  # environment units


def draw_maze(
    layout: Layout,
    goal: Float[np.ndarray, "2"] | None = None,
    ball: Float[np.ndarray, "2"] | None = None,
    trail: Float[np.ndarray, "time 2"] | None = None,
    cell_pixels: int = CELL_PIXELS,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture of the maze and, if they are given, of goal, ball and trail.

    Args:
        layout: the maze.
        goal, ball: positions in environment units.
        trail: positions over time; their colours change from yellow to blue.
        cell_pixels: pixels per cell.
    """
    canvas = _Canvas(layout, cell_pixels * OVERSAMPLING)
    canvas.draw_floor()
    if goal is not None:
        canvas.draw_disc(goal, GOAL_RADIUS, GOAL_HALO)  # where the sparse reward is 1
    canvas.draw_walls()
    if trail is not None and len(trail) > 1:
        canvas.draw_path(trail)
    if goal is not None:
        canvas.draw_disc(goal, GOAL_MARK_RADIUS, GOAL)
        canvas.draw_disc(goal, GOAL_MARK_RADIUS / 2, FLOOR)
    if ball is not None:
        canvas.draw_disc(ball, BALL_RADIUS * 1.5, FLOOR)
        canvas.draw_disc(ball, BALL_RADIUS * 1.3, BALL)
        canvas.draw_disc(ball - BALL_RADIUS * 0.4, BALL_RADIUS * 0.35, BALL_SHINE)
    return canvas.make_picture(cell_pixels)


class _Canvas:
    """A picture on which shapes are drawn in environment units; ``scale`` is in pixels per unit."""

    def __init__(self, layout: Layout, scale: int) -> None:
        self._layout = layout
        self._scale = scale
        height, width = layout.size
        self._image = Image.new("RGB", (width * scale, height * scale), FLOOR)
        self._draw = ImageDraw.Draw(self._image)

    def draw_floor(self) -> None:
        """Draw thin lines between cells."""
        height, width = self._layout.size
        thickness = max(1, self._scale // 40)
        for x in range(1, height):
            self._draw.line([(0, x * self._scale), (width * self._scale, x * self._scale)], FLOOR_LINE, thickness)
        for y in range(1, width):
            self._draw.line([(y * self._scale, 0), (y * self._scale, height * self._scale)], FLOOR_LINE, thickness)

    def draw_walls(self) -> None:
        """Draw the walls, with dark edges next to free cells."""
        edge = max(1, self._scale // 16)
        for x, y in np.argwhere(self._layout.walls).tolist():
            left, top = y * self._scale, x * self._scale
            self._draw.rectangle([left, top, left + self._scale - 1, top + self._scale - 1], fill=WALL)
        for x, y in self._layout.free_cells.tolist():
            for step_x, step_y in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                if self._layout.walls[x + step_x, y + step_y]:
                    self._draw_wall_edge(x, y, step_x, step_y, edge)

    def draw_path(self, positions: np.ndarray) -> None:
        """Draw a line with round joints whose colour changes over time."""
        pixels = [self._find_pixel(position) for position in positions]
        radius = TRAIL_WIDTH / 2 * self._scale
        stops = np.linspace(0, len(pixels) - 1, len(TRAIL_COLOURS))
        channels = [
            np.interp(np.arange(1, len(pixels)), stops, channel) for channel in zip(*TRAIL_COLOURS, strict=True)
        ]
        colours = map(tuple, np.rint(np.stack(channels, axis=1)).astype(int).tolist())
        for start, end, colour in zip(pixels[:-1], pixels[1:], colours, strict=True):
            self._draw.line([start, end], colour, round(2 * radius))
            self._draw_ellipse(end, radius, colour)

    def draw_disc(self, position: np.ndarray, radius: float, colour: Colour) -> None:
        """Draw a disc of a radius in environment units."""
        self._draw_ellipse(self._find_pixel(position), radius * self._scale, colour)

    def make_picture(self, cell_pixels: int) -> np.ndarray:
        """Return the finished picture, scaled down to ``cell_pixels`` per unit."""
        height, width = self._layout.size
        return np.asarray(self._image.resize((width * cell_pixels, height * cell_pixels), Image.Resampling.LANCZOS))

    def _find_pixel(self, position: np.ndarray) -> tuple[float, float]:
        """Return (column, row) of a position; cell (0, 0) is in the upper left corner of the picture."""
        x, y = (float(value) - CELL_CENTRE_OFFSET + 0.5 for value in position)
        return y * self._scale, x * self._scale

    def _draw_ellipse(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        column, row = centre
        self._draw.ellipse([column - radius, row - radius, column + radius, row + radius], fill=colour)

    def _draw_wall_edge(self, x: int, y: int, step_x: int, step_y: int, edge: int) -> None:
        """Draw the edge of the wall that is next to the free cell (x, y) in the direction of the step."""
        left, top = y * self._scale, x * self._scale
        right, bottom = left + self._scale - 1, top + self._scale - 1
        if step_x:
            row = bottom + 1 if step_x > 0 else top - edge
            self._draw.rectangle([left, row, right, row + edge - 1], fill=WALL_EDGE)
        else:
            column = right + 1 if step_y > 0 else left - edge
            self._draw.rectangle([column, top, column + edge - 1, bottom], fill=WALL_EDGE)
