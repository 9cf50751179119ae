import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.charts import draw_bars, draw_dots, draw_lines


def test_lines_pass_through_the_values_and_error_bars_span_the_intervals():
    figure = draw_lines(
        {"umaze": {"planner": {1: Estimate(5.0, 4.0, 7.0), 2: Estimate(6.0, 6.0, 6.0)}}}, "tokens", "score"
    )
    container = figure.axes[0].containers[0]
    assert container.lines[0].get_xydata().tolist() == [[1, 5], [2, 6]]
    segments = container.lines[2][0].get_segments()
    assert np.allclose(segments[0], [[1, 4], [1, 7]])


def test_bars_of_a_series_that_a_group_lacks_leave_its_place_empty():
    groups = {"a": {"x": Estimate(1.0, 0.0, 2.0), "y": Estimate(2.0, 1.0, 3.0)}, "b": {"y": Estimate(4.0, 4.0, 4.0)}}
    axes = draw_bars({"panel": groups}, "score").axes[0]
    heights = sorted(patch.get_height() for patch in axes.patches)
    assert heights == [1, 2, 4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_a_value_without_an_interval_has_no_error_bar():
    figure = draw_lines({"p": {"l": {1: Estimate(5.0, float("nan"), float("nan"))}}}, "x", "y", log_x=True)
    (segment,) = figure.axes[0].containers[0].lines[2][0].get_segments()
    assert np.allclose(segment, [[1, 5], [1, 5]])


def test_dots_are_ordered_from_top_to_bottom_with_their_names_and_intervals():
    panels = {
        "p": {"first": Estimate(5.0, 4.0, 7.0), "second": Estimate(6.0, 6.0, 6.0)},
        "q": {"first": Estimate(1.0, 1.0, 1.0)},
    }
    figure = draw_dots(panels, "score")
    (axes, other) = figure.axes
    assert axes.containers[0].lines[0].get_xydata().tolist() == [[5, 0], [6, 1]] and axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert np.allclose(axes.containers[0].lines[2][0].get_segments()[0], [[4, 0], [7, 0]])
    assert other.get_title() == "q"


def test_a_legend_of_long_labels_stays_within_the_figure():
    names = [f"a contender with a name as long as this one is, number {number}" for number in range(9)]
    labels = dict.fromkeys(names, Estimate(1.0, 0.0, 2.0))
    figure = draw_bars({"one": {"group": labels}, "two": {"group": labels}}, "score")
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.get_figwidth() * figure.dpi


def test_a_label_has_the_same_colour_in_all_panels():
    one = Estimate(1.0, 0.0, 2.0)
    bars = draw_bars({"p": {"g": {"x": one, "y": one}}, "q": {"g": {"z": one, "y": one}}}, "score")
    lines = draw_lines({"p": {"x": {1: one}, "y": {1: one}}, "q": {"z": {1: one}, "y": {1: one}}}, "x", "score")
    found = [[patch.get_facecolor() for patch in axes.patches] for axes in bars.axes]
    assert found[0][1] == found[1][1] and len({*found[0], *found[1]}) == 3
    found = [[container.lines[0].get_color() for container in axes.containers] for axes in lines.axes]
    assert found[0][1] == found[1][1] and len({*found[0], *found[1]}) == 3
