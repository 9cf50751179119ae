"""The agents that compete, by name."""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float

from dfplan.agents.controllers import CONTROLLERS
from dfplan.agents.observations import checked
from dfplan.agents.seeds import Seeds, episode_seeds, own_seeds
from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED, Agent
from dfplan.envs.controller import POSITION_GAIN, VELOCITY_GAIN, WaypointController
from dfplan.envs.errors import CommandParser, InputError, choose, natural_number
from dfplan.envs.layouts import LAYOUTS, maze_name

PRESET_NAMES = ("fast", "default", "best")  # the keys of agents.presets.PRESETS, which cannot be had without torch


@dataclass(frozen=True)
class ContenderOptions:
    """What the command line says about the agents.

    Attributes:
        env_id: the maze.
        checkpoint: name, folder or file; None for the one that ships for the maze and the agent.
        controller: how plans become actions; None for the agent's own default.
        device: where networks run.
        hold: whether a PD law holds the ends of plans.
        preset: the planner's dial between score and speed, of ``PRESET_NAMES``; ``controller`` wins over it. All other
            agents have settings of their own.
    """

    env_id: str
    checkpoint: str | None = None
    controller: str | None = None
    device: str = "auto"
    preset: str = "default"
    hold: bool = False


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
            InputError: if there is no goal, or it is no array of positions.
        """
        if goal is None:
            raise InputError("the waypoint agent needs a goal: reset(goal=...).")
        self._goals, self._seed = checked(goal, 2, "goal"), own_seeds(seed)
        self._controller: WaypointController | None = None

    def act(self, obs: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the actions towards the next waypoints.

        Raises:
            InputError: if goals or seeds are not as many as the observations, the batch changed since ``reset``, or
                an observation has another size or is not finite.
        """
        if self._goals is None:
            raise RuntimeError("reset(goal, seed) the waypoint agent before it acts")
        observations = checked(obs, 4, "observation")
        actions = self._controller_of(len(observations)).act(observations[:, :2], observations[:, 2:])
        return actions.astype(np.float32).reshape(*np.shape(obs)[:-1], 2)

    def _controller_of(self, batch: int) -> WaypointController:
        """Return the controller of ``batch`` balls, made when they first act; a single goal is the goal of all."""
        goals = self._goals
        if self._controller is None and len(goals) == 1:
            goals = goals.repeat(batch, axis=0)
        if len(goals) != batch:
            raise InputError(f"{batch} observations do not fit {len(goals)} goals; call reset() for a new batch.")
        if self._controller is None:
            controller = WaypointController(self._layout, batch, episode_seeds(self._seed, batch))
            controller.reset(goals)
            self._goals, self._controller = goals, controller
        return self._controller


def add_common_arguments(parser: CommandParser) -> None:
    """Add the arguments that say where agents act, and with which network."""
    parser.add_argument("maze", help="maze2d-umaze, maze2d-medium or maze2d-large; the -v1 may be left out")
    seed = f"decides starts, random goals and agents' randomness (default: {FIRST_REPORTED_SEED})"
    parser.add_argument("--seed", type=natural_number, default=FIRST_REPORTED_SEED, help=seed)
    parser.add_argument(
        "--goal", choices=("fixed", "random"), default="fixed", help="random: one per episode (Multi2D)"
    )
    parser.add_argument("--checkpoint", help="a name, folder or file instead of what ships for the maze")
    parser.add_argument("--device", default="auto", help="where networks run: auto, cpu, cuda, ...")


def make_contenders(names: Sequence[str], options: ContenderOptions) -> dict[str, Agent]:
    """Return the agents called ``names``, after all options have been checked, those that none of them uses too.

    Raises:
        InputError: if there is no such agent, controller, checkpoint or device, or the checkpoint is for other shapes.
    """
    check_contenders(names)
    check_options(options)
    return {name: CONTENDERS[name](options) for name in names}


def without_twins(contenders: dict[str, Agent]) -> dict[str, Agent]:
    """Return the agents without those that decide as an earlier one does; say on stderr which these are."""
    kept: dict[str, Agent] = {}
    for name, agent in contenders.items():
        config = described_config(agent)
        twin = next((other for other in kept if config and described_config(kept[other]) == config), None)
        if twin is None:
            kept[name] = agent
        else:
            print(f"note: with this checkpoint {name} is the same agent as {twin} and is left out.", file=sys.stderr)
    return kept


def check_contenders(names: Sequence[str]) -> None:
    """Raise ``InputError`` at the first name that is unknown, before anything is loaded."""
    for name in names:
        choose("agent", name, CONTENDERS)


def check_options(options: ContenderOptions) -> None:
    """Raise ``InputError`` for an option that cannot be used; warn of a checkpoint that was trained in another maze."""
    if options.controller is not None:
        choose("controller", options.controller, CONTROLLERS)
    if options.device != "auto":
        from dfplan.devices import find_device

        find_device(options.device)
    if options.checkpoint is not None:
        trained_on = _load(options).info.get("env_id", options.env_id)
        if trained_on != options.env_id:
            warning = f"the checkpoint {options.checkpoint} was trained on {trained_on}, not on {options.env_id}."
            print(f"warning: {warning}", file=sys.stderr)


def described_config(agent: Agent) -> dict[str, Any]:
    """Return the agent's settings and, where it has a network, its checkpoint's file and the maze that it is from."""
    config = getattr(agent, "config", None)
    settings = asdict(config) if is_dataclass(config) else {}
    file = getattr(agent, "checkpoint", None)
    if file is None:
        return settings
    demonstrations = agent.info.get("demonstrations", "recorded")
    origin = {"checkpoint": f"{file.parent.name}/{file.name}", "trained_on": agent.info.get("env_id")}
    return settings | origin | {"demonstrations": demonstrations}


def _learned(own: str | None = None, level_sampler: str | None = None) -> Callable[[ContenderOptions], Agent]:
    """Return what makes an agent with settings of its own.

    Args:
        own: their name in ``dfplan.agents.presets``; None for the planner, which has its presets.
        level_sampler: how the agent's own checkpoint was trained; None for the maze's.
    """

    return partial(_load, own=own, level_sampler=level_sampler)


# Networks are imported where they are made, so that help and bad input are answered without waiting for torch.
def _load(options: ContenderOptions, own: str | None = None, level_sampler: str | None = None) -> Agent:
    from dfplan.agents import presets
    from dfplan.agents.planner import DFPlanner

    settings = getattr(presets, own) if own else choose("preset", options.preset, presets.PRESETS)
    if options.controller:
        settings = settings | {"controller": options.controller}
    if options.hold:
        settings = settings | {"hold": True}
    checkpoint = options.checkpoint or _shipped(options.env_id, level_sampler)
    agent = DFPlanner.load(checkpoint, device=options.device, **settings)
    _check_sizes(agent.model.config, checkpoint, options.env_id)
    return agent


def _shipped(env_id: str, level_sampler: str | None) -> str | Path:
    """Return the checkpoint that ships for the maze; where a level sampler's does not, say how to train it."""
    from dfplan.checkpoint import find_checkpoint

    maze = f"maze2d-{maze_name(env_id)}"
    if level_sampler is None:
        return find_checkpoint(maze)
    try:
        return find_checkpoint(f"{maze}-{level_sampler}")
    except InputError as error:
        raise InputError(
            f"no checkpoint {maze}-{level_sampler} ships with dfplan; train one with `dfplan-train {maze} "
            f"--level-sampler {level_sampler} --output FOLDER` and name it with --checkpoint FOLDER."
        ) from error


def _check_sizes(config: Any, checkpoint: str | Path, env_id: str) -> None:
    """Raise ``InputError`` unless the model's observations, actions and goals are as large as the environment's."""
    with closing(gym.make(env_id)) as env:
        expected = (*env.observation_space.shape, *env.action_space.shape, *env.reset(seed=0)[1]["goal"].shape)
    given = (config.observation_dim, config.action_dim, config.goal_dim)
    if given != expected:
        raise InputError(
            f"the checkpoint {checkpoint} has observations, actions and goals of sizes {given}, "
            f"but {env_id} has {expected}."
        )


def _waypoint(options: ContenderOptions) -> Agent:
    return WaypointAgent(maze_name(options.env_id))


def _random(options: ContenderOptions) -> Agent:
    from dfplan.agents.random import RandomAgent

    return RandomAgent()


CONTENDERS: dict[str, Callable[[ContenderOptions], Agent]] = {
    "planner": _learned(),
    "planner-guided": _learned("COST_TO_GO"),
    "planner-goal-token": _learned("GOAL_TOKEN"),
    "policy": _learned("POLICY"),
    "planner-mcg": _learned("MONTE_CARLO_GUIDANCE"),
    "teacher-forcing": _learned("TEACHER_FORCING", "teacher_forcing"),
    "diffuser": _learned("DIFFUSER", "full_sequence"),
    "waypoint": _waypoint,
    "random": _random,
}
