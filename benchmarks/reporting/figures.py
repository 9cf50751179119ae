"""Pictures of executed paths, of plans and of denoising, drawn over the maze.

As in the text of a layout, x points down and y points right. Positions are in environment units. The centre of a cell
lies at its integer position minus 0.2 on both axes, so paths through integer positions run right of and below centres.
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

from dfplan.benchmarks.evaluation.episodes import Evaluation
from dfplan.envs import rendering
from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.ground.files import replace_file

# The colours of the environment's renderings.
WALL, FLOOR, GOAL = (
    to_hex((red / 255, green / 255, blue / 255))
    for red, green, blue in (rendering.WALL, rendering.FLOOR, rendering.GOAL)
)
INK = "#22262e"
TIME_COLOURS = "viridis"
# Predictions from clean tokens are dark blue; predictions from noise are nearly the colour of the floor.
LEVEL_COLOURS = LinearSegmentedColormap.from_list("level", ["#0b3c8c", "#5b8fd6", "#d9c9a3"])
SHOWN_EPISODES = 8  # always the first ones, so that nobody selects the best ones
PANEL_INCHES = 4.2  # width of one panel
DOTS_PER_INCH = 110
MOST_NOISY_ALPHA = 0.08  # opacity of lines that are predicted from pure noise
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 110, 1800


def draw_layout(axes: Axes, layout: Layout) -> None:
    """Draw the walls, and set the limits of the axes to the maze."""
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
    """Draw one path and return it; ``values`` determine the colour at each position."""
    points = path[:, ::-1]  # (time, 2) as (right, down)
    segments = np.stack([points[:-1], points[1:]], axis=1)  # (time - 1, end, 2)
    lines = LineCollection(list(segments), array=values[1:], cmap=colours, norm=norm, linewidths=1.8, capstyle="round")
    axes.add_collection(lines)
    return lines


def draw_marks(axes: Axes, start: Float[np.ndarray, " 2"] | None, goal: Float[np.ndarray, " 2"] | None) -> None:
    """Draw a ring at the start and a star at the goal; None draws nothing."""
    if start is not None:
        axes.plot(
            start[1], start[0], "o", markersize=7, color="white", markeredgecolor=INK, markeredgewidth=1.4, zorder=4
        )
    if goal is not None:
        axes.plot(
            goal[1], goal[0], "*", markersize=15, color=GOAL, markeredgecolor="white", markeredgewidth=0.9, zorder=5
        )


def draw_executed_paths(layout: Layout, evaluations: dict[str, Evaluation], shown: int = SHOWN_EPISODES) -> Figure:
    """Return a figure with one panel per agent: its first episodes, coloured by time, and its mean scores."""
    figure, panels = _make_panels(layout, len(evaluations))
    norm = Normalize(0, max(_find_last_arrival(evaluation, shown) for evaluation in evaluations.values()))
    for axes, (name, evaluation) in zip(panels, evaluations.items()):
        draw_layout(axes, layout)
        for path, goal in zip(evaluation.paths[:shown], evaluation.goals[:shown]):
            draw_path(axes, path, np.arange(len(path), dtype=float), TIME_COLOURS, norm)
            draw_marks(axes, path[0], goal)
        axes.set_title(_format_score_title(name, evaluation), fontsize=10, color=INK)
    _add_colour_bar(figure, panels, norm, TIME_COLOURS, "step")
    return figure


def draw_plans(
    layout: Layout,
    positions: Float[np.ndarray, "batch time 2"],
    goal: Float[np.ndarray, " 2"] | None = None,
    title: str = "",
) -> Figure:
    """Return a figure of planned paths over the maze, coloured by time; every path begins at its start."""
    figure, (axes,) = _make_panels(layout, 1)
    norm = Normalize(0, positions.shape[1] - 1)
    draw_layout(axes, layout)
    for path in positions:
        draw_path(axes, path, np.arange(len(path), dtype=float), TIME_COLOURS, norm)
        draw_marks(axes, path[0], goal)
    axes.set_title(title, fontsize=10, color=INK)
    _add_colour_bar(figure, [axes], norm, TIME_COLOURS, "planned step")
    return figure


def write_denoising_animation(
    layout: Layout,
    frames: Sequence[Float[np.ndarray, "time 2"]],
    levels: Sequence[Float[np.ndarray, " time"]],
    path: Path | str,
    goal: Float[np.ndarray, " 2"] | None = None,
) -> None:
    """Write a GIF of one plan while it is denoised: the model's prediction of the clean plan, row by row.

    Args:
        layout: the maze.
        frames: positions of the predicted clean plan before each row of the scheduling matrix; the final plan is last.
            Noisy tokens are not drawn.
        levels: for each frame, the noise level of the token from which each position is predicted; 0 is clean, and the
            highest level of all frames is drawn as pure noise.
        path: of the GIF. An older file is replaced when the new one is complete.
        goal: where a star is drawn.
    """
    pure_noise = max(float(np.max(level)) for level in levels) or 1.0
    start = frames[-1][0]  # of the final plan; earlier predictions may start elsewhere
    images = [
        _draw_denoising_frame(layout, frame, level, pure_noise, start, goal) for frame, level in zip(frames, levels)
    ]
    palette = _make_palette(images)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [FRAME_MILLISECONDS] * (len(images) - 1) + [LAST_FRAME_MILLISECONDS]
    with replace_file(Path(path)) as unfinished:
        images[0].save(
            unfinished, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True
        )


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a PNG; an older file is replaced when the new one is complete."""
    with replace_file(Path(path)) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def _draw_denoising_frame(
    layout: Layout,
    positions: np.ndarray,
    levels: np.ndarray,
    pure_noise: float,
    start: np.ndarray,
    goal: np.ndarray | None,
) -> Image.Image:
    """Return one frame: a dot for every predicted position, and lines between them that are fainter at high levels."""
    norm = Normalize(0, pure_noise)
    figure, (axes,) = _make_panels(layout, 1)
    canvas = FigureCanvasAgg(figure)
    draw_layout(axes, layout)
    lines = draw_path(axes, positions, levels, LEVEL_COLOURS, norm)
    alpha = MOST_NOISY_ALPHA + (1 - MOST_NOISY_ALPHA) * (1 - levels[1:] / pure_noise)
    lines.set_alpha(alpha.tolist())
    axes.scatter(positions[:, 1], positions[:, 0], c=levels, cmap=LEVEL_COLOURS, norm=norm, s=9, zorder=3)
    draw_marks(axes, start, goal)
    bar = _add_colour_bar(figure, [axes], norm, LEVEL_COLOURS, "plan predicted from")
    bar.set_ticks([0, pure_noise], labels=["clean tokens", "pure noise"])
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _make_palette(images: list[Image.Image]) -> Image.Image:
    """Return one palette for all frames; with a palette per frame the unchanged parts of the picture would flicker."""
    samples = [images[index] for index in sorted({0, len(images) // 2, len(images) - 1})]
    width, height = samples[0].size
    strip = Image.new("RGB", (width * len(samples), height))
    for index, sample in enumerate(samples):
        strip.paste(sample, (index * width, 0))
    return strip.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _make_panels(layout: Layout, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels that have the maze's proportions, at most three in a row."""
    rows, columns = layout.walls.shape
    in_row = min(count, 3)
    num_rows = -(-count // in_row)
    size = (in_row * PANEL_INCHES + 0.6, num_rows * (PANEL_INCHES * rows / columns + 0.5))
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    grid = figure.subplots(num_rows, in_row, squeeze=False).ravel()  # (panel,)
    for unused in grid[count:]:
        unused.set_visible(False)
    return figure, list(grid[:count])


def _add_colour_bar(
    figure: Figure, panels: list[Axes], norm: Normalize, colours: Colormap | str, label: str
) -> Colorbar:
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=panels, fraction=0.04, pad=0.015, shrink=0.9)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def _find_last_arrival(evaluation: Evaluation, shown: int) -> float:
    """Return the step of the last arrival in the shown episodes, at which the colour scale ends."""
    arrivals = evaluation.scores["first_reach"][:shown]
    return float(np.where(np.isnan(arrivals), evaluation.rewards.shape[1], arrivals).max())


def _format_score_title(name: str, evaluation: Evaluation) -> str:
    """Return the title of an agent's panel: its name, its mean normalized score and its success."""
    normalized, success = (evaluation.scores[key].mean() for key in ("normalized", "success"))
    shown = "-" if np.isnan(normalized) else round(normalized)
    return f"{name}: normalized {shown}, success {success:.0%}"
