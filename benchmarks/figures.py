"""Pictures of executed paths, plans and denoising over the maze.

Drawn as the layout text is read: x points down, y points right. Positions are environment units, in which the middle
of a cell's square lies 0.2 before the integer position of that cell, so that paths run a little right of and below it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from PIL import Image

from dfplan.benchmarks.evaluation import Evaluation
from dfplan.envs import rendering
from dfplan.envs.files import replaced
from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout

# The colours of the environment's own pictures.
WALL, FLOOR, GOAL = (to_hex([part / 255 for part in rgb]) for rgb in (rendering.WALL, rendering.FLOOR, rendering.GOAL))
INK = "#22262e"
TIME_COLOURS = "viridis"
# What is predicted from clean tokens in the ink of the plan, what is predicted from noise fading into the floor.
LEVEL_COLOURS = LinearSegmentedColormap.from_list("level", ["#0b3c8c", "#5b8fd6", "#d9c9a3"])
SHOWN_EPISODES = 8  # the first ones, so that nobody can pick the pretty ones
PANEL_INCHES = 4.2  # width of one panel
DOTS_PER_INCH = 110
MOST_NOISY_ALPHA = 0.08  # opacity of what is predicted from pure noise: a guess at most
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 110, 1800


def draw_layout(axes: Axes, layout: Layout) -> None:
    """Draw the walls and set the limits to the maze."""
    rows, columns = layout.walls.shape
    low = CELL_CENTRE_OFFSET - 0.5
    extent = (low, columns + low, rows + low, low)
    axes.imshow(
        layout.walls, cmap=ListedColormap([FLOOR, WALL]), vmin=0, vmax=1, extent=extent, interpolation="nearest"
    )
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def draw_path(
    axes: Axes,
    path: Float[np.ndarray, "time 2"],
    values: Float[np.ndarray, " time"],
    colours: Colormap | str,
    norm: Normalize,
) -> LineCollection:
    """Draw one path whose colour at each position follows ``values``, and return it."""
    points = path[:, ::-1]  # (time, 2) as (right, down)
    segments = np.stack([points[:-1], points[1:]], axis=1)  # (time - 1, end, 2)
    lines = LineCollection(segments, array=values[1:], cmap=colours, norm=norm, linewidths=1.8, capstyle="round")
    return axes.add_collection(lines)


def draw_marks(axes: Axes, start: Float[np.ndarray, " 2"] | None, goal: Float[np.ndarray, " 2"] | None) -> None:
    """Draw a ring at the start and a star at the goal."""
    if start is not None:
        axes.plot(
            start[1], start[0], "o", markersize=7, color="white", markeredgecolor=INK, markeredgewidth=1.4, zorder=4
        )
    if goal is not None:
        axes.plot(
            goal[1], goal[0], "*", markersize=15, color=GOAL, markeredgecolor="white", markeredgewidth=0.9, zorder=5
        )


def executed_paths(layout: Layout, evaluations: dict[str, Evaluation], shown: int = SHOWN_EPISODES) -> Figure:
    """Return one panel per agent with its first episodes, coloured by time, and its mean scores."""
    figure, panels = _panels(layout, len(evaluations))
    norm = Normalize(0, max(_last_arrival(evaluation, shown) for evaluation in evaluations.values()))
    for axes, (name, evaluation) in zip(panels, evaluations.items()):
        draw_layout(axes, layout)
        for path, goal in zip(evaluation.paths[:shown], evaluation.goals[:shown]):
            draw_path(axes, path, np.arange(len(path), dtype=float), TIME_COLOURS, norm)
            draw_marks(axes, path[0], goal)
        axes.set_title(_score_title(name, evaluation), fontsize=10, color=INK)
    _colour_bar(figure, panels, norm, TIME_COLOURS, "step")
    return figure


def plan_over_maze(
    layout: Layout,
    positions: Float[np.ndarray, "batch time 2"],
    goal: Float[np.ndarray, " 2"] | None = None,
    title: str = "",
) -> Figure:
    """Return planned paths over the maze, coloured by planned time; the first position of each is its start."""
    figure, (axes,) = _panels(layout, 1)
    norm = Normalize(0, positions.shape[1] - 1)
    draw_layout(axes, layout)
    for path in positions:
        draw_path(axes, path, np.arange(len(path), dtype=float), TIME_COLOURS, norm)
        draw_marks(axes, path[0], goal)
    axes.set_title(title, fontsize=10, color=INK)
    _colour_bar(figure, [axes], norm, TIME_COLOURS, "planned step")
    return figure


def denoising_animation(
    layout: Layout,
    frames: Sequence[Float[np.ndarray, "time 2"]],
    levels: Sequence[Float[np.ndarray, " time"]],
    path: Path | str,
    goal: Float[np.ndarray, " 2"] | None = None,
) -> None:
    """Write a GIF of one plan while it is denoised: what the model predicts the plan to be, row by row.

    Args:
        layout: the maze.
        frames: positions of the clean plan as predicted before each sampling row, and of the final plan last. The noisy
            tokens themselves are not shown.
        levels: noise levels, in each row, of the tokens that each position is predicted from; 0 = clean, and the
            largest one is taken as pure noise.
        path: where the GIF goes; an older one is replaced at the end only.
        goal: marked with a star.
    """
    norm = Normalize(0, max(float(np.max(level)) for level in levels) or 1.0)
    start = frames[-1][0]  # of the final plan; predictions may begin elsewhere
    images = [_denoising_frame(layout, frame, level, norm, start, goal) for frame, level in zip(frames, levels)]
    palette = _palette(images)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [FRAME_MILLISECONDS] * (len(images) - 1) + [LAST_FRAME_MILLISECONDS]
    with replaced(Path(path)) as unfinished:
        images[0].save(
            unfinished, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True
        )


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a PNG; an older one is replaced at the end only."""
    with replaced(Path(path)) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def _denoising_frame(
    layout: Layout,
    positions: np.ndarray,
    levels: np.ndarray,
    norm: Normalize,
    start: np.ndarray,
    goal: np.ndarray | None,
) -> Image.Image:
    """Return one frame: a dot for every predicted position, joined by lines that appear as the noise goes."""
    figure, (axes,) = _panels(layout, 1)
    canvas = FigureCanvasAgg(figure)
    draw_layout(axes, layout)
    lines = draw_path(axes, positions, levels, LEVEL_COLOURS, norm)
    lines.set_alpha(MOST_NOISY_ALPHA + (1 - MOST_NOISY_ALPHA) * (1 - levels[1:] / norm.vmax))
    axes.scatter(positions[:, 1], positions[:, 0], c=levels, cmap=LEVEL_COLOURS, norm=norm, s=9, zorder=3)
    draw_marks(axes, start, goal)
    bar = _colour_bar(figure, [axes], norm, LEVEL_COLOURS, "plan predicted from")
    bar.set_ticks([0, norm.vmax], labels=["clean tokens", "pure noise"])
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(images: list[Image.Image]) -> Image.Image:
    """Return one palette for all frames: with one each, the still parts of the picture would flicker."""
    samples = [images[index] for index in sorted({0, len(images) // 2, len(images) - 1})]
    width, height = samples[0].size
    strip = Image.new("RGB", (width * len(samples), height))
    for index, sample in enumerate(samples):
        strip.paste(sample, (index * width, 0))
    return strip.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _panels(layout: Layout, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of the maze's proportions, at most three in a row."""
    rows, columns = layout.walls.shape
    in_row = min(count, 3)
    num_rows = -(-count // in_row)
    size = (in_row * PANEL_INCHES + 0.6, num_rows * (PANEL_INCHES * rows / columns + 0.5))
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    grid = figure.subplots(num_rows, in_row, squeeze=False).ravel()  # (panel,)
    for unused in grid[count:]:
        unused.set_visible(False)
    return figure, list(grid[:count])


def _colour_bar(figure: Figure, panels: list[Axes], norm: Normalize, colours: Colormap | str, label: str) -> Colorbar:
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=panels, fraction=0.04, pad=0.015, shrink=0.9)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def _last_arrival(evaluation: Evaluation, shown: int) -> float:
    """Return the step of the last arrival among the shown episodes, so that the colours are spent on the way there."""
    arrivals = evaluation.scores["first_reach"][:shown]
    return float(np.where(np.isnan(arrivals), evaluation.rewards.shape[1], arrivals).max())


def _score_title(name: str, evaluation: Evaluation) -> str:
    """Return the agent's name and the scores that a reader compares."""
    normalized, success = (evaluation.scores[key].mean() for key in ("normalized", "success"))
    return f"{name}: normalized {round(normalized)}, success {success:.0%}"
