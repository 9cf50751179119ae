import numpy as np
import pytest

from dfplan.envs.layouts import EPISODE_STEPS, LAYOUTS, Layout, find_episode_steps, find_layout, parse_maze_name
from dfplan.ground.errors import InputError


@pytest.mark.parametrize("name", ["large", "maze2d-large", "maze2d-large-v1", "large-v1", "dfplan:maze2d-large-v1"])
def test_prefix_and_version_of_a_maze_are_optional(name):
    assert parse_maze_name(name) == "large"


def test_the_error_of_an_unknown_maze_lists_similar_names():
    with pytest.raises(InputError, match="did you mean maze2d-medium"):
        parse_maze_name("maze2d-medum")


@pytest.mark.parametrize(
    ("name", "goal", "free_cells", "steps"),
    [("umaze", (1, 1), 7, 300), ("medium", (6, 6), 26, 600), ("large", (7, 9), 46, 800), ("open", (2, 3), 15, 150)],
)
def test_the_mazes_are_those_of_d4rl(name, goal, free_cells, steps):
    layout = LAYOUTS[name]
    assert layout.goal_cell == goal and tuple(layout.goal) == goal
    assert len(layout.free_cells) == free_cells
    assert EPISODE_STEPS[name] == find_episode_steps(layout) == steps


def test_lines_run_along_x_and_characters_along_y():
    layout = Layout("#####\n#OOG#\n#####")
    assert layout.size == (3, 5)
    assert layout.goal_cell == (1, 3)
    assert layout.free_cells.tolist() == [[1, 1], [1, 2], [1, 3]]
    assert layout.walls.sum() == 12


def test_the_marked_goal_is_the_last_free_cell_and_the_first_cell_is_the_goal_without_a_mark():
    assert Layout("#####\n#GOO#\n#####").free_cells[-1].tolist() == [1, 1]
    assert Layout("####\n##O#\n#OO#\n####").goal_cell == (1, 2)


def test_indentation_and_d4rl_separators_and_empty_cells_are_understood():
    texts = ["####\\#G #\\####", "  ####\n  #G0#\n  ####\n", "\n####\n#G.#\n####"]
    assert {Layout(text).walls.tobytes() for text in texts} == {Layout("####\n#GO#\n####").walls.tobytes()}


def test_a_cell_extends_from_seven_tenths_before_to_three_tenths_after_its_integer_position():
    layout = LAYOUTS["umaze"]
    positions = np.array([[0.31, 1.29], [1.29, 1.29], [1.31, 1.0], [2.0, 3.2], [-9.0, 99.0]])
    assert layout.cell_of(positions).tolist() == [[1, 1], [1, 1], [2, 1], [2, 3], [0, 4]]
    assert layout.is_free(positions).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("###\n#O#\n##", "equal lengths, not 3, 3, 2"),
        ("####\n#OX#\n####", "not 'X'"),
        ("###\n###\n###", "no free cell"),
        ("####\n#GG#\n####", "not 2"),
        ("####\n#OOO\n####", "outermost"),
        ("\n".join(["#" * 60] + ["#" + "O" * 58 + "#"] * 58 + ["#" * 60]), "2500"),
    ],
)
def test_a_wrong_layout_gets_one_clear_sentence(text, message):
    with pytest.raises(InputError, match=message) as error:
        Layout(text)
    assert "\n" not in str(error.value)


def test_a_maze_is_given_by_name_or_text_or_layout():
    layout = LAYOUTS["medium"]
    assert find_layout("maze2d-medium") is layout and find_layout(layout) is layout
    assert find_layout("###\n#O#\n###").name == "custom"
