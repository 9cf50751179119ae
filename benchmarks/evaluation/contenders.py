"""The agents that can be compared, by name."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.controllers import CONTROLLERS
from dfplan.agents.observations import check_array
from dfplan.agents.seeds import Seeds, assign_seeds, copy_seeds
from dfplan.benchmarks.evaluation.conditions import FIRST_REPORTED_SEED
from dfplan.benchmarks.evaluation.environments import World, describe_other_world, find_maze, find_world
from dfplan.benchmarks.evaluation.protocols import Agent, Planner
from dfplan.envs.demonstrator import POSITION_GAIN, VELOCITY_GAIN, WaypointController
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.ogbench_names import OGBenchName
from dfplan.ground.command_line import CommandParser, natural_number
from dfplan.ground.errors import InputError, choose


@dataclass(frozen=True)
class ContenderOptions:
    """The options of the command line that concern agents.

    Attributes:
        env_id: Gymnasium's id of the environment.
        checkpoint: name, folder or file; None for the checkpoint that ships for the maze and the agent.
        controller: key of ``CONTROLLERS``; None for the agent's default.
        device: the device of the networks.
        preset: name of the settings of the agent ``planner``, one of ``PRESET_NAMES``. Other agents have fixed
            settings. A ``controller`` replaces the one of the preset.
        hold: whether a PD controller holds the end of a plan.
        coordinates: see ``Conditions``.
        data: name of the data set of OGBench whose shipped checkpoint is meant; None in other worlds.
    """

    env_id: str
    checkpoint: str | None = None
    controller: str | None = None
    device: str = "auto"
    preset: str = "default"
    hold: bool = False
    coordinates: str = "own"
    data: OGBenchName | None = None


@dataclass(frozen=True)
class WaypointConfig:
    """The gains of the demonstrator's controller: action per environment unit, and per environment unit per second."""

    position_gain: float = POSITION_GAIN
    velocity_gain: float = VELOCITY_GAIN


class WaypointAgent:
    """D4RL's demonstrator without action noise. Unlike the learned agents it knows the layout of the maze."""

    config = WaypointConfig()

    def __init__(self, maze: str) -> None:
        self._layout = LAYOUTS[maze]
        self._goals: np.ndarray | None = None

    def reset(self, goal: Any = None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin one episode or a batch of episodes.

        Args:
            goal: position (2,) for all episodes, or (batch, 2) for one per episode, in environment units.
            seed: one for all episodes, or one per episode.
            num_steps: ignored.

        Raises:
            InputError: if ``goal`` is missing, or is not an array of finite positions.
        """
        if goal is None:
            raise InputError("the waypoint agent needs a goal: reset(goal=...).")
        self._goals, self._seed = check_array(goal, 2, "goal"), copy_seeds(seed)
        self._controller: WaypointController | None = None

    def act(self, obs: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 2"]:
        """Return actions that lead to the next waypoints.

        Raises:
            InputError: if the number of observations differs from that of the goals or seeds or has changed since
                ``reset``, or if an observation has another size or is not finite.
            RuntimeError: before the first ``reset``.
        """
        if self._goals is None:
            raise RuntimeError("call reset(goal, seed) of the waypoint agent before act()")
        observations = check_array(obs, 4, "observation")
        actions = self._find_controller(self._goals, len(observations)).act(observations[:, :2], observations[:, 2:])
        return actions.astype(np.float32).reshape(*np.shape(obs)[:-1], 2)

    def _find_controller(self, goals: np.ndarray, batch: int) -> WaypointController:
        """Return the controller of the batch. The first call after ``reset`` makes it; one goal serves all episodes."""
        if self._controller is None and len(goals) == 1:
            goals = goals.repeat(batch, axis=0)
        if len(goals) != batch:
            raise InputError(f"{batch} observations do not fit {len(goals)} goals; call reset() for a new batch.")
        if self._controller is None:
            controller = WaypointController(self._layout, batch, assign_seeds(self._seed, batch))
            controller.reset(goals)
            self._goals, self._controller = goals, controller
        return self._controller


def add_common_arguments(parser: CommandParser) -> None:
    """Add the arguments that choose the episodes, the checkpoint and the device."""
    seed = f"seed of the starts, of random goals and of the agents (default: {FIRST_REPORTED_SEED})"
    parser.add_argument("--seed", type=natural_number, default=FIRST_REPORTED_SEED, help=seed)
    goal = "of D4RL's mazes; random: draw one per episode (Multi2D)"
    parser.add_argument("--goal", choices=("fixed", "random"), default="fixed", help=goal)
    parser.add_argument(
        "--checkpoint", help="name, folder or file of a checkpoint (default: the one that ships for the maze)"
    )
    parser.add_argument("--device", default="auto", help="device of the networks: auto, cpu, cuda, ...")


def make_contenders(names: Sequence[str], options: ContenderOptions) -> dict[str, Agent]:
    """Return the agents called ``names``. All options are checked first, also those that no agent uses.

    Raises:
        InputError: if there is no such agent, controller, preset, checkpoint or device, or if the sizes of the
            checkpoint do not fit the maze.
    """
    check_contenders(names)
    check_options(options)
    return {name: CONTENDERS[name](options) for name in names}


def drop_duplicates(contenders: dict[str, Agent]) -> dict[str, Agent]:
    """Return the agents without those that have the settings of an earlier one; name these on stderr."""
    kept: dict[str, Agent] = {}
    for name, agent in contenders.items():
        config = describe_config(agent)
        equal = next((other for other in kept if config and describe_config(kept[other]) == config), None)
        if equal is None:
            kept[name] = agent
        else:
            print(f"note: with this checkpoint {name} is the same agent as {equal} and is left out.", file=sys.stderr)
    return kept


def check_contenders(names: Sequence[str]) -> None:
    """Raise ``InputError`` if a name is unknown. Nothing is loaded."""
    for name in names:
        choose("agent", name, CONTENDERS)


def check_options(options: ContenderOptions) -> None:
    """Raise ``InputError`` if an option cannot be used; print a warning if the checkpoint is from another maze."""
    if options.controller is not None:
        choose("controller", options.controller, CONTROLLERS)
    if options.device != "auto":
        from dfplan.ground.devices import find_device

        find_device(options.device)
    if options.checkpoint is not None:
        trained_on = _load_planner(options).info.get("env_id", options.env_id)
        difference = describe_other_world(trained_on, _find_world(options))
        if difference:
            print(f"warning: the checkpoint {options.checkpoint} {difference}.", file=sys.stderr)


def describe_config(agent: Agent) -> dict[str, Any]:
    """Return the agent's settings; those of an agent with a network include its checkpoint and its training data."""
    config = getattr(agent, "config", None)
    settings = {} if config is None else _list_settings(config)
    file = getattr(agent, "checkpoint", None)
    if file is None:
        return settings
    info = getattr(agent, "info", {})
    demonstrations = info.get("demonstrations", "recorded")
    origin = {"checkpoint": f"{file.parent.name}/{file.name}", "trained_on": info.get("env_id")}
    return settings | origin | {"demonstrations": demonstrations}


def _list_settings(config: Any) -> dict[str, Any]:
    """Return every single setting by its name; the settings of a planner are in several parts."""
    return config.settings if hasattr(config, "settings") else asdict(config)


def _make_loader(own: str | None = None, level_sampler: str | None = None) -> Callable[[ContenderOptions], Agent]:
    """Return a function that makes a ``DFPlanner`` from the options.

    Args:
        own: name of the settings in ``dfplan.agents.presets``; None for those of ``options.preset``.
        level_sampler: level sampler by which the agent's checkpoint was trained; None for the maze's main checkpoint.
    """
    return partial(_load_planner, own=own, level_sampler=level_sampler)


# torch takes seconds to import. It is imported inside functions, so that help and bad input are answered at once.
def _load_planner(options: ContenderOptions, own: str | None = None, level_sampler: str | None = None) -> Planner:
    from dfplan.agents import presets
    from dfplan.agents.planner import DFPlanner

    settings = getattr(presets, own) if own else choose("preset", options.preset, presets.PRESETS)
    checkpoint = options.checkpoint or _find_shipped(options, level_sampler)
    task = DFPlanner.load(checkpoint, device=options.device).task
    world = _find_world(options)
    world.spaces.check(task, f"the checkpoint {checkpoint}", world.name)
    settings = presets.suit_task(settings, task)
    if options.controller:
        settings = settings | {"controller": options.controller}
    if options.hold:
        settings = settings | {"hold": True}
    return DFPlanner.load(checkpoint, device=options.device, **settings)


def _find_shipped(options: ContenderOptions, level_sampler: str | None) -> str | Path:
    """Return the checkpoint that ships for the world and the level sampler (None: the world's main checkpoint).

    Raises:
        InputError: if there is none; the message says how to train it.
    """
    from dfplan.training.checkpoint import find_checkpoint

    maze, advice = find_maze(options.env_id), "--output FOLDER` and name it with --checkpoint FOLDER."
    if maze is None and options.data is None:
        raise InputError(
            f"no checkpoint ships for {options.env_id}; train one with `dfplan-train {options.env_id} --dataset FILE "
            f"{advice}"
        )
    world = f"maze2d-{maze}" if options.data is None else str(options.data).removesuffix("-v0")
    name = world if level_sampler is None else f"{world}-{level_sampler}"
    try:
        return find_checkpoint(name)
    except InputError as error:
        option = "" if level_sampler is None else f"--level-sampler {level_sampler} "
        raise InputError(
            f"there is no checkpoint {name} here; run this in a checkout of the repository if its "
            f"benchmarks/checkpoints has it, or train one with `dfplan-train {options.data or world} {option}{advice}"
        ) from error


def _find_world(options: ContenderOptions) -> World:
    return find_world(options.env_id, coordinates=options.coordinates)


def _make_waypoint_agent(options: ContenderOptions) -> Agent:
    maze = find_maze(options.env_id)
    if maze is None:
        raise InputError(f"the agent waypoint knows its way in D4RL's mazes only, not in {options.env_id}.")
    return WaypointAgent(maze)


def _make_oracle(options: ContenderOptions) -> Agent:
    from dfplan.benchmarks.evaluation.ogbench_oracle import OracleAgent

    if options.data is None:
        raise InputError(f"the agent oracle knows its way in OGBench's point mazes only, not in {options.env_id}.")
    return OracleAgent(options.data.maze)


def _make_graph_agent(options: ContenderOptions) -> Agent:
    from dfplan.benchmarks.evaluation.graph_agent import GraphAgent

    planner = _load_planner(options)
    return GraphAgent(planner.model.cost_to_go, planner.task)


def _make_random_agent(options: ContenderOptions) -> Agent:
    from dfplan.agents.random_agent import RandomAgent

    if options.checkpoint is not None:  # it may know more of the world than the environment tells
        return RandomAgent(_load_planner(options).task)
    world = _find_world(options)
    return RandomAgent(world.own_task or world.spaces)


CONTENDERS: dict[str, Callable[[ContenderOptions], Agent]] = {
    "planner": _make_loader(),
    "planner-guided": _make_loader("COST_TO_GO"),
    "planner-goal-token": _make_loader("GOAL_TOKEN"),
    "policy": _make_loader("POLICY"),
    "planner-mcg": _make_loader("MONTE_CARLO_GUIDANCE"),
    "teacher-forcing": _make_loader("TEACHER_FORCING", "teacher_forcing"),
    "diffuser": _make_loader("DIFFUSER", "full_sequence"),
    "waypoint": _make_waypoint_agent,
    "graph": _make_graph_agent,
    "oracle": _make_oracle,
    "random": _make_random_agent,
}
