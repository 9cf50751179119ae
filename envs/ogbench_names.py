"""The names of the data sets of OGBench's point mazes, and what they tell; without MuJoCo, which is slow to import."""

from dataclasses import dataclass
from typing import Any

from dfplan.ground.errors import choose

PREFIX = "pointmaze-"  # of the names of data sets
MAZES, KINDS = ("medium", "large", "giant", "teleport"), ("navigate", "stitch")
SPEED = 0.2  # environment units per step and per unit of the action
TASKS = (1, 2, 3, 4, 5)  # numbers of the tasks in which agents are evaluated


@dataclass(frozen=True)
class OGBenchName:
    """The name of a data set, such as ``pointmaze-giant-stitch-v0``.

    Attributes:
        maze: one of ``MAZES``.
        kind: one of ``KINDS``; ``navigate`` has long ways to one goal after another, ``stitch`` single ways of 4 cells.
    """

    maze: str
    kind: str

    def __str__(self) -> str:
        """Return OGBench's name."""
        return f"{PREFIX}{self.maze}-{self.kind}-v0"

    @property
    def env_id(self) -> str:
        """Gymnasium's id of the environment."""
        return f"ogbench:pointmaze-{self.maze}-v0"

    @property
    def facts(self) -> dict[str, Any]:
        """What the environment does not say of its task: observations and goals are positions, which actions move."""
        return {"goal": (0, 1), "position": (0, 1), "step_length": (SPEED, SPEED)}

    @property
    def episodes(self) -> int:
        """Number of training episodes."""
        if self.kind == "stitch":
            return 5000
        return 500 if self.maze == "giant" else 1000

    @property
    def episode_rows(self) -> int:
        """Number of rows of an episode."""
        if self.kind == "stitch":
            return 201
        return 2001 if self.maze == "giant" else 1001


DATA_SETS = {str(name): name for name in (OGBenchName(maze, kind) for maze in MAZES for kind in KINDS)}


def find_ogbench(name: str) -> OGBenchName | None:
    """Return the name of a data set in its parts; None for any other name."""
    return DATA_SETS.get(name)


def parse_ogbench_name(name: str) -> OGBenchName:
    """Return the name of a data set in its parts.

    Raises:
        InputError: if there is no such data set; the message lists similar names.
    """
    return choose("data set", name, DATA_SETS)
