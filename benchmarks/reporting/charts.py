"""Charts of estimates with their 95% intervals: lines over a setting, groups of bars, or a column of dots."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK

Line = Mapping[int | float, Estimate]  # value of the setting -> estimate
COLOURS = ("#0b3c8c", "#c8553d", "#3b8c5a", "#8f6bb3", "#d19a2e", "#5b8fd6", "#6b6b6b", "#b04a7a", "#2b2b2b", "#9fbf6b")
PANEL_SIZE = (4.6, 3.4)  # inches
DOT_HEIGHT = 0.2  # inches
LEGEND_MARK, LEGEND_CHARACTER = 0.6, 0.065  # width in inches of a mark with its gaps, and of a character
BAR_SHARE = 0.8  # width of all bars of a group, as a share of the distance between groups


def draw_lines(panels: Mapping[str, Mapping[str, Line]], x_label: str, y_label: str, log_x: bool = False) -> Figure:
    """Return a figure with one panel per title and one line per label; every point has its interval."""
    figure, axes_of = _make_panels(panels, y_label)
    colours = _choose_colours(label for lines in panels.values() for label in lines)
    for title, axes in axes_of.items():
        for label, line in panels[title].items():
            values, errors = _split_estimates(line.values())
            axes.errorbar(
                list(line), values, yerr=errors, label=label, color=colours[label], marker="o", markersize=4, capsize=2
            )
        if log_x:
            axes.set_xscale("log", base=2)
            ticks = sorted({x for line in panels[title].values() for x in line})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(x_label)
    _add_legend(figure, list(axes_of.values()))
    return figure


def draw_bars(panels: Mapping[str, Mapping[str, Mapping[str, Estimate]]], y_label: str) -> Figure:
    """Return a figure with one panel per title, one group of bars per label, and one bar with interval per series."""
    figure, axes_of = _make_panels(panels, y_label)
    colours = _choose_colours(name for groups in panels.values() for group in groups.values() for name in group)
    for title, axes in axes_of.items():
        groups = panels[title]
        series = list(dict.fromkeys(name for group in groups.values() for name in group))
        width = BAR_SHARE / len(series)
        for rank, name in enumerate(series):
            present = [position for position, group in enumerate(groups.values()) if name in group]
            values, errors = _split_estimates(group[name] for group in groups.values() if name in group)
            places = np.array(present) + (rank - (len(series) - 1) / 2) * width
            axes.bar(places, values, 0.92 * width, yerr=errors, label=name, color=colours[name], ecolor=INK, capsize=2)
        axes.set_xticks(range(len(groups)), list(groups), rotation=20 if len(groups) > 3 else 0)
    _add_legend(figure, list(axes_of.values()))
    return figure


def draw_dots(panels: Mapping[str, Mapping[str, Estimate]], x_label: str, columns: int = 2) -> Figure:
    """Return a figure with one panel per title and one labelled dot with interval per row.

    A vertical line marks the value of the first dot.
    """
    rows, longest = -(-len(panels) // columns), max(map(len, panels.values()))
    size = (1.4 * PANEL_SIZE[0] * columns, rows * (1.0 + DOT_HEIGHT * longest))
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    axes_of = figure.subplots(rows, columns, squeeze=False).ravel()
    for (title, estimates), axes in zip(panels.items(), axes_of):
        values, errors = _split_estimates(estimates.values())
        axes.errorbar(values, range(len(values)), xerr=errors, fmt="o", color=COLOURS[0], markersize=4, capsize=2)
        axes.axvline(values[0], color=COLOURS[1], linewidth=0.8)
        axes.set_yticks(range(len(values)), list(estimates), fontsize=8)
        axes.set(xlabel=x_label)
        axes.invert_yaxis()
        _style_panel(axes, title, grid="x")
    for axes in axes_of[len(panels) :]:
        axes.remove()
    return figure


def _choose_colours(labels: Iterable[str]) -> dict[str, str]:
    """Return one colour for each label, the same in all panels of a figure."""
    return dict(zip(dict.fromkeys(labels), cycle(COLOURS)))


def _make_panels(panels: Mapping[str, object], y_label: str) -> tuple[Figure, dict[str, Axes]]:
    size = (PANEL_SIZE[0] * len(panels), PANEL_SIZE[1])
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for title, one in zip(panels, axes):
        _style_panel(one, title, grid="y")
    axes[0].set_ylabel(y_label)
    return figure, dict(zip(panels, axes))


def _style_panel(axes: Axes, title: str, grid: Literal["x", "y"]) -> None:
    """Set the title of a panel, remove two sides of its frame, and draw grid lines at the ticks of one axis."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _split_estimates(estimates) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (point,), and their distances (2, point) to the ends of their intervals; 0 without interval."""
    table = np.array([(one.value, one.low, one.high) for one in estimates]).reshape(-1, 3)
    errors = np.abs(table[:, 1:] - table[:, :1]).T  # (2, point)
    return table[:, 0], np.nan_to_num(errors, nan=0.0)


def _add_legend(figure: Figure, panels: list[Axes]) -> None:
    """Draw a legend below the panels that has every label once."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    if len(found) > 1:
        width = LEGEND_MARK + LEGEND_CHARACTER * max(map(len, found))  # of a column with the longest label
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=max(1, min(4, int(figure.get_figwidth() / width), len(found))),
            frameon=False,
            fontsize=8,
        )
