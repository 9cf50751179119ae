import numpy as np
from PIL import Image

from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.estimates import Evaluation
from dfplan.benchmarks.reporting.figures import (
    FLOOR,
    WALL,
    draw_executed_paths,
    draw_layout,
    draw_plans,
    draw_returns,
    save_figure,
    write_denoising_animation,
)
from dfplan.envs.layouts import Layout

LAYOUT = Layout("#####\n#G  #\n### #\n#####")
PATH = np.array([[1.0, 3.0], [1.0, 2.0], [1.0, 1.0]])


def colour_at(figure, axes, position):
    """The colour of the picture at a position in the maze."""
    canvas = figure.canvas
    canvas.draw()
    right, up = axes.transData.transform(position[::-1])
    pixels = np.asarray(canvas.buffer_rgba())
    return "#" + "".join(f"{value:02x}" for value in pixels[pixels.shape[0] - 1 - int(up), int(right), :3])


def test_drawn_walls_are_where_the_ball_cannot_be():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_layout(axes, LAYOUT)
    assert colour_at(figure, axes, (1.0, 3.0)) == colour_at(figure, axes, (2.0, 3.0)) == FLOOR
    assert colour_at(figure, axes, (2.0, 1.0)) == colour_at(figure, axes, (0.0, 0.0)) == WALL
    assert colour_at(figure, axes, (1.0, 3.25)) == FLOOR and colour_at(figure, axes, (1.0, 3.35)) == WALL


def test_a_plan_is_drawn_to_a_file(tmp_path):
    save_figure(draw_plans(LAYOUT, PATH[None], goal=PATH[-1], title="plan"), tmp_path / "plan.png")
    with Image.open(tmp_path / "plan.png") as image:
        assert image.format == "PNG" and min(image.size) > 200


def test_an_animation_has_a_frame_per_row_and_shows_the_last_one_longer(tmp_path):
    frames = [PATH + offset for offset in (0.8, 0.4, 0.0)]
    levels = [np.full(3, level) for level in (10.0, 5.0, 0.0)]
    write_denoising_animation(LAYOUT, frames, levels, tmp_path / "plan.gif", goal=PATH[-1])
    with Image.open(tmp_path / "plan.gif") as image:
        assert image.n_frames == 3
        first = image.info["duration"]
        image.seek(2)
        assert image.info["duration"] > 5 * first
    assert [file.name for file in tmp_path.iterdir()] == ["plan.gif"]


def test_an_animation_of_a_clean_plan_only_is_drawn(tmp_path):
    write_denoising_animation(LAYOUT, [PATH], [np.zeros(3)], tmp_path / "plan.gif")
    assert (tmp_path / "plan.gif").exists()


def evaluated(layout=None, goals=True):
    """Two episodes of 2 and 3 steps in a plane; the second one reaches its goal in its last step."""
    nan = np.nan
    paths = np.array([[[1, 1], [1, 2], [1, 3], [nan, nan]], [[1, 1], [1, 1], [1, 2], [1, 3]]])
    rewards = np.array([[1.0, 2.0, nan], [0.0, 0.0, 3.0]])
    scores = {
        "return": np.array([3.0, 3.0]),
        "normalized": np.full(2, nan),
        "success": np.array([False, True]),
        "first_reach": np.array([nan, 3.0]),
    }
    at = np.array([[1.0, 3.0], [1.0, 3.0]]) if goals else None
    conditions = Conditions("World-v0", 2, goal=None)
    return Evaluation(conditions, at, paths, rewards, scores, np.empty(0), np.empty(0), layout)


def test_paths_are_drawn_in_a_maze_and_in_a_plane_without_walls():
    for layout in (LAYOUT, None):
        figure = draw_executed_paths({"one": evaluated(layout), "other": evaluated(layout, goals=False)})
        one, other = figure.axes[:2]
        assert one.get_title() == "one: return 3.00, success 50%"
        assert len(one.collections) == len(other.collections) == 2  # the two paths
        assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())


def test_without_a_layout_x_points_right_and_y_up():
    axes = draw_executed_paths({"one": evaluated()}).axes[0]
    first = axes.collections[0].get_segments()
    np.testing.assert_array_equal(first[0], [[1, 1], [1, 2]])
    assert len(first) == 2 and axes.get_ylim()[0] < axes.get_ylim()[1]


def test_returns_are_drawn_as_their_mean_so_far_and_stay_after_the_end():
    axes = draw_returns({"one": evaluated()}).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1.5, 3.0] and axes.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert "return so far" in axes.get_ylabel() and axes.get_xlabel() == "step"
