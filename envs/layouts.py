"""Maze layouts as text: those of D4RL, and the user's own.

``#`` is a wall, ``O`` (or ``0``, ``.``, a space) is a free cell, and ``G`` is the free cell of the goal. Lines follow
one another along x, the characters of a line along y. Cell (i, j) belongs to the integer position (i, j), near which
D4RL resets the ball and places goals. The centre of the cell's square is at (i - 0.2, j - 0.2), because D4RL placed the
walls in this way, also when it recorded its data.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.ground.errors import InputError, unknown_name

# From an integer position to the centre of its cell's square, in environment units. In D4RL's model the ball is placed
# at 1.2, and walls at i + 1.
CELL_CENTRE_OFFSET = -0.2
FREE_CHARACTERS = "O0. "
MAX_LAYOUT_CELLS = 2500  # 50 x 50; the demonstrator has a table with an entry for every pair of cells


@dataclass(frozen=True)
class Layout:
    """The layout of a maze.

    Args:
        text: one line for each x with one character for each y; the border must consist of walls.
        name: name of the maze.

    Raises:
        InputError: if the text is not a rectangle of known characters with a closed border, a free cell and at most one
            goal.
    """

    text: str
    name: str = "custom"

    def __post_init__(self) -> None:
        _check_layout(self.rows)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The lines without indentation. Lines may also be separated by backslashes, as in D4RL."""
        lines = (line.strip() for line in self.text.replace("\\", "\n").splitlines())
        return tuple(line for line in lines if line)

    @cached_property
    def walls(self) -> Bool[np.ndarray, "x y"]:
        """Whether each cell is a wall."""
        return np.array([[character == "#" for character in row] for row in self.rows])

    @property
    def size(self) -> tuple[int, int]:
        """The number of cells along x and along y, walls included."""
        return self.walls.shape

    @cached_property
    def goal_cell(self) -> tuple[int, int]:
        """The cell with the mark ``G``; without a mark the first free cell, as in D4RL."""
        for x, row in enumerate(self.rows):
            if "G" in row:
                return x, row.index("G")
        x, y = np.argwhere(~self.walls)[0]
        return int(x), int(y)

    @cached_property
    def free_cells(self) -> Int[np.ndarray, "cell 2"]:
        """The cells without a wall in D4RL's order: sorted, but with the marked goal at the end."""
        cells = np.argwhere(~self.walls)
        if not any("G" in row for row in self.rows):
            return cells
        is_goal = (cells == self.goal_cell).all(axis=1)
        return np.concatenate([cells[~is_goal], cells[is_goal]])

    @property
    def goal(self) -> Float[np.ndarray, "2"]:
        """The position of the fixed goal in environment units."""
        return np.array(self.goal_cell, dtype=np.float64)

    def cell_of(self, positions: Float[np.ndarray, "*batch 2"]) -> Int[np.ndarray, "*batch 2"]:
        """Return the cell that contains each position; for positions outside the maze, the nearest border cell."""
        cells = np.floor(positions - CELL_CENTRE_OFFSET + 0.5).astype(np.int64)
        return np.clip(cells, 0, np.array(self.size) - 1)

    def is_free(self, positions: Float[np.ndarray, "*batch 2"]) -> Bool[np.ndarray, "*batch"]:
        """Return whether the cell that contains each position is free."""
        cells = self.cell_of(positions)
        return np.asarray(~self.walls[cells[..., 0], cells[..., 1]])


def _check_layout(rows: tuple[str, ...]) -> None:
    """Raise an ``InputError`` if the rows are not a layout."""
    if not rows:
        raise InputError("the maze layout is empty; give lines such as '#####', '#GO##', '#####'.")
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise InputError(f"the lines of a maze layout must have equal lengths, not {lengths} characters.")
    text = "".join(rows)
    if unknown := sorted(set(text) - set(FREE_CHARACTERS) - {"#", "G"}):
        named = ", ".join(map(repr, unknown))
        raise InputError(f"a maze layout may contain '#' (wall), 'O' (free) and 'G' (goal), not {named}.")
    if set(text) == {"#"}:
        raise InputError("the maze layout has no free cell; mark at least one with 'O'.")
    if text.count("G") > 1:
        raise InputError(f"a maze layout may contain one goal 'G', not {text.count('G')}.")
    if set(rows[0] + rows[-1] + "".join(row[0] + row[-1] for row in rows)) != {"#"}:
        raise InputError(
            "the outermost cells of a maze layout must all be walls '#', so that the ball cannot leave it."
        )
    if len(text) > MAX_LAYOUT_CELLS:
        raise InputError(f"a maze layout may have at most {MAX_LAYOUT_CELLS} cells, not {len(text)}.")


LAYOUTS: dict[str, Layout] = {
    name: Layout(text, name)
    for name, text in {
        "open": """
            #######
            #OOOOO#
            #OOGOO#
            #OOOOO#
            #######""",
        "umaze": """
            #####
            #GOO#
            ###O#
            #OOO#
            #####""",
        "medium": """
            ########
            #OO##OO#
            #OO#OOO#
            ##OOO###
            #OO#OOO#
            #O#OO#O#
            #OOO#OG#
            ########""",
        "large": """
            ############
            #OOOO#OOOOO#
            #O##O#O#O#O#
            #OOOOOO#OOO#
            #O####O###O#
            #OO#O#OOOOO#
            ##O#O#O#O###
            #OO#OOO#OGO#
            ############""",
        "eval-umaze": """
            #####
            #OOG#
            #O###
            #OOO#
            #####""",
        "eval-medium": """
            ########
            #OOOOOG#
            #O#O##O#
            #OOOO#O#
            ###OO###
            #OOOOOO#
            #OO##OO#
            ########""",
        "eval-large": """
            ############
            #OO#OOO#OGO#
            ##O###O#O#O#
            #OO#O#OOOOO#
            #O##O#OO##O#
            #OOOOOO#OOO#
            #O##O#O#O###
            #OOOO#OOOOO#
            ############""",
    }.items()
}

# Environment steps of an episode, from D4RL's registration of the v1 mazes; for open, which has no v1, of v0.
EPISODE_STEPS = {"open": 150, "umaze": 300, "medium": 600, "large": 800}
EPISODE_STEPS |= {f"eval-{name}": EPISODE_STEPS[name] for name in ("umaze", "medium", "large")}
CUSTOM_EPISODE_STEPS = 800


def parse_maze_name(name: str) -> str:
    """Return the key in ``LAYOUTS`` for a user's name: ``large``, ``maze2d-large`` and ``maze2d-large-v1`` are equal.

    Raises:
        InputError: if there is no such maze; the message lists similar names.
    """
    short = name.strip().removeprefix("dfplan:").removeprefix("maze2d-").removesuffix("-v1")
    if short not in LAYOUTS:
        raise unknown_name("maze", name, (f"maze2d-{known}" for known in LAYOUTS))
    return short


def find_layout(maze: str | Layout) -> Layout:
    """Return the layout for the name of a maze or the text of a layout; a ``Layout`` is returned as it is.

    Raises:
        InputError: if there is no such maze, or the text is not a valid layout.
    """
    if isinstance(maze, Layout):
        return maze
    return Layout(maze) if "#" in maze or not maze.strip() else LAYOUTS[parse_maze_name(maze)]


def find_episode_steps(layout: Layout) -> int:
    """Return the number of environment steps of an episode in this maze."""
    return EPISODE_STEPS.get(layout.name, CUSTOM_EPISODE_STEPS)
