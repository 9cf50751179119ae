"""The agents that compete, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.seeds import Seeds, episode_seeds
from dfplan.benchmarks.evaluation import Agent
from dfplan.envs.controller import POSITION_GAIN, VELOCITY_GAIN, WaypointController
from dfplan.envs.errors import CommandParser, InputError, natural_number, unknown_name
from dfplan.envs.layouts import LAYOUTS, maze_name


@dataclass(frozen=True)
class ContenderOptions:
    """What the command line says about the agents.

    Attributes:
        env_id: the maze; without ``checkpoint`` the one that ships for it is loaded.
        checkpoint: name, folder or file; None for the shipped one.
        controller: how plans become actions; None for the agent's own default.
        device: where networks run.
    """

    env_id: str
    checkpoint: str | None = None
    controller: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class WaypointConfig:
    """The demonstration controller's gains, per environment unit and per environment unit a second."""

    position_gain: float = POSITION_GAIN
    velocity_gain: float = VELOCITY_GAIN


class WaypointAgent:
    """D4RL's demonstration controller without its action noise; it knows the maze, which learned agents do not."""

    config = WaypointConfig()

    def __init__(self, maze: str) -> None:
        self._layout = LAYOUTS[maze]
        self._goals: np.ndarray | None = None

    def reset(self, goal: Any = None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin an episode with its goal (2,), or a batch of them (batch, 2) or (2,); ``num_steps`` plays no part.

        Raises:
            InputError: if there is no goal.
        """
        if goal is None:
            raise InputError("the waypoint agent needs a goal: reset(goal=...).")
        self._goals, self._seed = np.atleast_2d(np.asarray(goal, dtype=float)), seed
        self._controller: WaypointController | None = None

    def act(self, obs: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the actions towards the next waypoints.

        Raises:
            InputError: if goals or seeds are not as many as the observations, or the batch changed since ``reset``.
        """
        if self._goals is None:
            raise RuntimeError("reset(goal, seed) the waypoint agent before it acts")
        observations = np.atleast_2d(obs)  # (batch, 4)
        actions = self._controller_of(len(observations)).act(observations[:, :2], observations[:, 2:])
        return actions.astype(np.float32).reshape(*np.shape(obs)[:-1], 2)

    def _controller_of(self, batch: int) -> WaypointController:
        """Return the controller of ``batch`` balls, made when they first act; a single goal is the goal of all."""
        if self._controller is None and len(self._goals) == 1:
            self._goals = self._goals.repeat(batch, axis=0)
        if len(self._goals) != batch:
            raise InputError(f"{batch} observations do not fit {len(self._goals)} goals; call reset() for a new batch.")
        if self._controller is None:
            self._controller = WaypointController(self._layout, batch, episode_seeds(self._seed, batch))
            self._controller.reset(self._goals)
        return self._controller


def add_common_arguments(parser: CommandParser) -> None:
    """Add the arguments that say where agents act, and with which network."""
    parser.add_argument("maze", help="maze2d-umaze, maze2d-medium or maze2d-large; the -v1 may be left out")
    parser.add_argument(
        "--seed", type=natural_number, default=0, help="decides starts, random goals and agents' randomness"
    )
    parser.add_argument(
        "--goal", choices=("fixed", "random"), default="fixed", help="random: one per episode (Multi2D)"
    )
    parser.add_argument("--checkpoint", help="a name, folder or file instead of what ships for the maze")
    parser.add_argument("--device", default="auto", help="where networks run: auto, cpu, cuda, ...")


def make_contender(name: str, options: ContenderOptions) -> Agent:
    """Return the agent called ``name``.

    Raises:
        InputError: if there is no such agent, or its checkpoint, controller or device cannot be had.
    """
    check_contenders([name])
    return CONTENDERS[name](options)


def check_contenders(names: Sequence[str]) -> None:
    """Raise ``InputError`` at the first name that is unknown, before anything is loaded."""
    for name in names:
        if name not in CONTENDERS:
            raise unknown_name("agent", name, CONTENDERS)


# Networks are imported where they are made, so that help and bad input are answered without waiting for torch.
def _planner(options: ContenderOptions, **preset: Any) -> Agent:
    from dfplan.agents.planner import DFPlanner

    controller = {"controller": options.controller} if options.controller else {}
    checkpoint = options.checkpoint or f"maze2d-{maze_name(options.env_id)}"
    return DFPlanner.load(checkpoint, device=options.device, **(preset | controller))


def _policy(options: ContenderOptions) -> Agent:
    return _planner(options, mode="policy")


def _planner_mcg(options: ContenderOptions) -> Agent:
    from dfplan.agents.planner import MONTE_CARLO_GUIDANCE

    return _planner(options, **MONTE_CARLO_GUIDANCE)


def _waypoint(options: ContenderOptions) -> Agent:
    return WaypointAgent(maze_name(options.env_id))


def _random(options: ContenderOptions) -> Agent:
    from dfplan.agents.random import RandomAgent

    return RandomAgent()


CONTENDERS: dict[str, Callable[[ContenderOptions], Agent]] = {
    "planner": _planner,
    "policy": _policy,
    "planner-mcg": _planner_mcg,
    "waypoint": _waypoint,
    "random": _random,
}
