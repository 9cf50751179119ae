"""Pictures of a maze from above, drawn without OpenGL.

They look like the layout's text: x runs down, y to the right.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.envs.physics import BALL_RADIUS
from dfplan.envs.task import GOAL_RADIUS

CELL_PIXELS = 48
OVERSAMPLING = 3  # drawn this much larger and scaled down, which smooths all edges
Colour = tuple[int, int, int]
FLOOR: Colour = (247, 246, 242)
FLOOR_LINE: Colour = (232, 230, 223)
WALL: Colour = (58, 66, 82)
WALL_EDGE: Colour = (41, 47, 60)
BALL: Colour = (33, 102, 214)
BALL_SHINE: Colour = (150, 190, 250)
GOAL: Colour = (214, 62, 62)
GOAL_HALO: Colour = (250, 224, 220)
TRAIL_COLOURS: tuple[Colour, ...] = ((255, 190, 60), (222, 86, 140), (33, 102, 214))  # evenly spaced in time
TRAIL_WIDTH = 0.07  # environment units
GOAL_MARK_RADIUS = 0.14  # environment units


def draw_maze(
    layout: Layout,
    goal: Float[np.ndarray, "2"] | None = None,
    ball: Float[np.ndarray, "2"] | None = None,
    trail: Float[np.ndarray, "time 2"] | None = None,
    cell_pixels: int = CELL_PIXELS,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture with what is given, positions in environment units; the trail goes from yellow to blue."""
    canvas = _Canvas(layout, cell_pixels * OVERSAMPLING)
    canvas.floor()
    if goal is not None:
        canvas.disc(goal, GOAL_RADIUS, GOAL_HALO)  # where the sparse reward is 1
    canvas.walls()
    if trail is not None and len(trail) > 1:
        canvas.path(trail)
    if goal is not None:
        canvas.disc(goal, GOAL_MARK_RADIUS, GOAL)
        canvas.disc(goal, GOAL_MARK_RADIUS / 2, FLOOR)
    if ball is not None:
        canvas.disc(ball, BALL_RADIUS * 1.5, FLOOR)
        canvas.disc(ball, BALL_RADIUS * 1.3, BALL)
        canvas.disc(ball - BALL_RADIUS * 0.4, BALL_RADIUS * 0.35, BALL_SHINE)
    return canvas.picture(cell_pixels)


class _Canvas:
    """Draws in environment units; ``scale`` is in pixels per unit."""

    def __init__(self, layout: Layout, scale: int) -> None:
        self._layout = layout
        self._scale = scale
        height, width = layout.size
        self._image = Image.new("RGB", (width * scale, height * scale), FLOOR)
        self._draw = ImageDraw.Draw(self._image)

    def floor(self) -> None:
        """Draw thin lines between the cells."""
        height, width = self._layout.size
        thickness = max(1, self._scale // 40)
        for x in range(1, height):
            self._draw.line([(0, x * self._scale), (width * self._scale, x * self._scale)], FLOOR_LINE, thickness)
        for y in range(1, width):
            self._draw.line([(y * self._scale, 0), (y * self._scale, height * self._scale)], FLOOR_LINE, thickness)

    def walls(self) -> None:
        """Draw the walls, with an edge towards free cells."""
        edge = max(1, self._scale // 16)
        for x, y in np.argwhere(self._layout.walls).tolist():
            left, top = y * self._scale, x * self._scale
            self._draw.rectangle([left, top, left + self._scale - 1, top + self._scale - 1], fill=WALL)
        for x, y in self._layout.free_cells.tolist():
            for step_x, step_y in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                if self._layout.walls[x + step_x, y + step_y]:
                    self._wall_edge(x, y, step_x, step_y, edge)

    def path(self, positions: np.ndarray) -> None:
        """Draw a line with round joints whose colour tells the time."""
        pixels = [self._pixel(position) for position in positions]
        radius = TRAIL_WIDTH / 2 * self._scale
        stops = np.linspace(0, len(pixels) - 1, len(TRAIL_COLOURS))
        channels = [
            np.interp(np.arange(1, len(pixels)), stops, channel) for channel in zip(*TRAIL_COLOURS, strict=True)
        ]
        colours = map(tuple, np.rint(np.stack(channels, axis=1)).astype(int).tolist())
        for start, end, colour in zip(pixels[:-1], pixels[1:], colours, strict=True):
            self._draw.line([start, end], colour, round(2 * radius))
            self._ellipse(end, radius, colour)

    def disc(self, position: np.ndarray, radius: float, colour: Colour) -> None:
        """Draw a disc of a radius in environment units."""
        self._ellipse(self._pixel(position), radius * self._scale, colour)

    def picture(self, cell_pixels: int) -> np.ndarray:
        """Return the finished picture, scaled down to ``cell_pixels`` per unit."""
        height, width = self._layout.size
        return np.asarray(self._image.resize((width * cell_pixels, height * cell_pixels), Image.Resampling.LANCZOS))

    def _pixel(self, position: np.ndarray) -> tuple[float, float]:
        """Return (column, row): the square of cell (0, 0) is the picture's upper left corner."""
        x, y = (float(value) - CELL_CENTRE_OFFSET + 0.5 for value in position)
        return y * self._scale, x * self._scale

    def _ellipse(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        column, row = centre
        self._draw.ellipse([column - radius, row - radius, column + radius, row + radius], fill=colour)

    def _wall_edge(self, x: int, y: int, step_x: int, step_y: int, edge: int) -> None:
        """Draw the strip of a wall that borders on the free cell (x, y) in the direction of the step."""
        left, top = y * self._scale, x * self._scale
        right, bottom = left + self._scale - 1, top + self._scale - 1
        if step_x:
            row = bottom + 1 if step_x > 0 else top - edge
            self._draw.rectangle([left, row, right, row + edge - 1], fill=WALL_EDGE)
        else:
            column = right + 1 if step_y > 0 else left - edge
            self._draw.rectangle([column, top, column + edge - 1, bottom], fill=WALL_EDGE)
