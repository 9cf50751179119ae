"""Pictures of executed paths, of returns, of plans and of denoising.

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

from dfplan.benchmarks.evaluation.estimates import Evaluation, choose_main_score
from dfplan.benchmarks.evaluation.statistics import NORMAL_975
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
RETURNS_INCHES = (6.4, 4.0)
PLANE_MARGIN = 0.05  # space around paths, as a share of their extent
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


def draw_executed_paths(evaluations: dict[str, Evaluation], shown: int = SHOWN_EPISODES) -> Figure:
    """Return a figure with one panel per agent: its first episodes, coloured by time, and its mean scores.

    In a maze x points down and y right, as in its text; in other planes x points right and y up.
    """
    evaluations = {name: evaluation for name, evaluation in evaluations.items() if evaluation.paths is not None}
    layout = next(iter(evaluations.values())).layout
    figure, panels = _make_panels(layout, len(evaluations))
    norm = Normalize(0, max(_find_last_arrival(evaluation, shown) for evaluation in evaluations.values()))
    for axes, (name, evaluation) in zip(panels, evaluations.items()):
        if layout is None:
            _frame_plane(axes, evaluations)
        else:
            draw_layout(axes, layout)
        for path, goal in _list_paths(evaluation, shown):
            if layout is None:  # ``draw_path`` draws the first coordinate down
                path, goal = path[:, ::-1], None if goal is None else goal[::-1]
            draw_path(axes, path, np.arange(len(path), dtype=float), TIME_COLOURS, norm)
            draw_marks(axes, path[0], goal)
        axes.set_title(_format_score_title(name, evaluation), fontsize=10, color=INK)
    _add_colour_bar(figure, panels, norm, TIME_COLOURS, "step")
    return figure


def draw_returns(evaluations: dict[str, Evaluation]) -> Figure:
    """Return a figure of the return so far over the steps: the mean over episodes, and its 95% interval as a band.

    An episode that has ended keeps its return.
    """
    figure = Figure(figsize=RETURNS_INCHES, layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    for name, evaluation in evaluations.items():
        returns = np.nancumsum(evaluation.rewards, axis=1)  # (episode, time)
        steps, mean = np.arange(1, returns.shape[1] + 1), returns.mean(axis=0)
        (line,) = axes.plot(steps, mean, linewidth=1.8, label=_format_score_title(name, evaluation))
        if len(returns) > 1:
            half_width = NORMAL_975 * returns.std(axis=0, ddof=1) / np.sqrt(len(returns))
            axes.fill_between(steps, mean - half_width, mean + half_width, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="step", ylabel="return so far (mean; band: 95% interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
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


def _make_panels(layout: Layout | None, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels that have the maze's proportions, at most three in a row."""
    rows, columns = (1, 1) if layout is None else layout.walls.shape
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


def _frame_plane(axes: Axes, evaluations: dict[str, Evaluation]) -> None:
    """Set the limits of the axes to all paths and goals, so that all panels show the same part of the plane."""
    places = [evaluation.paths.reshape(-1, 2) for evaluation in evaluations.values() if evaluation.paths is not None]
    places += [
        goals for goals in (one.goals for one in evaluations.values()) if goals is not None and goals.shape[1] == 2
    ]
    low, high = np.nanmin(np.concatenate(places), axis=0), np.nanmax(np.concatenate(places), axis=0)
    margin = PLANE_MARGIN * max(*(high - low), 1e-9)
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)


def _list_paths(evaluation: Evaluation, shown: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return path and goal of the first episodes; the goal is None if it does not lie in the plane."""
    assert evaluation.paths is not None
    goals = evaluation.goals if evaluation.goals is not None and evaluation.goals.shape[1] == 2 else None
    paths = [path[np.isfinite(path).all(axis=1)] for path in evaluation.paths[:shown]]
    return [(path, None if goals is None else goals[row]) for row, path in enumerate(paths)]


def _find_last_arrival(evaluation: Evaluation, shown: int) -> float:
    """Return the step of the last arrival in the shown episodes, at which the colour scale ends.

    An episode without arrival counts its length.
    """
    arrivals = evaluation.scores["first_reach"][:shown]
    lengths = np.isfinite(evaluation.rewards[:shown]).sum(axis=1)
    return float(np.where(np.isnan(arrivals), lengths, arrivals).max())


def _format_score_title(name: str, evaluation: Evaluation) -> str:
    """Return the title of an agent: its name, its mean normalized score or return, and its success if it has one."""
    score = choose_main_score(evaluation)
    success = evaluation.scores["success"].astype(float).mean()
    shown = f"{name}: {score} {format_briefly(evaluation.scores[score].mean())}"
    return shown if np.isnan(success) else f"{shown}, success {success:.0%}"


def format_briefly(value: float) -> str:
    """Return a score as text: whole from 10 on, else with two decimals."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
