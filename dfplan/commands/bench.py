"""``dfplan-bench``: compares agents in one environment and writes their scores and a picture.

``torchrun --nproc-per-node N -m dfplan.commands.bench ...`` shares the episodes among N processes.
"""

import shlex
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

from dfplan.agents.controllers import CONTROLLERS
from dfplan.agents.preset_names import PRESET_NAMES
from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.contenders import (
    CONTENDERS,
    ContenderOptions,
    add_common_arguments,
    check_contenders,
    describe_config,
    drop_duplicates,
    make_contenders,
)
from dfplan.benchmarks.evaluation.environments import COORDINATES, find_env_id, find_maze
from dfplan.benchmarks.evaluation.episodes import evaluate, find_world_of
from dfplan.benchmarks.reporting.outputs import write_results
from dfplan.benchmarks.reporting.report import describe_conditions, format_table
from dfplan.benchmarks.reporting.run_folder import add_output_arguments, claim_folder, name_folder
from dfplan.envs.ogbench_names import TASKS, OGBenchName, find_ogbench
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.ground.errors import InputError
from dfplan.ground.processes import assign_device, find_processes, report_error_once
from dfplan.training.loaded_checkpoints import track_checkpoints

MAZE_AGENTS = "planner,planner-goal-token,policy,waypoint"  # the default in D4RL's mazes
AGENTS = "planner,planner-mcg,policy,random"  # the default in all other environments
EPISODES, OGBENCH_EPISODES = 100, 50  # per agent and seed; in OGBench per task, too
# The modules whose code determines the numbers of the report. The last two give the numbers for comparison.
MODULES = (
    "dfplan.commands.bench",
    "dfplan.benchmarks.evaluation.kinematic_limit",
    "dfplan.benchmarks.reporting.published",
)
# Options that change the results. The checkpoint is not among them: its contents matter and not its name.
RESULT_OPTIONS = (
    "agents",
    "episodes",
    "seed",
    "seeds",
    "goal",
    "max_steps",
    "coordinates",
    "preset",
    "controller",
    "hold",
    "device",
)


@exit_two_on_input_error
@report_error_once()
def main() -> None:
    """Run the command. All inputs are checked before anything is computed."""
    arguments = _make_parser().parse_args()
    data = find_ogbench(arguments.env)
    if arguments.episodes is None:
        arguments.episodes = _choose_episodes(arguments.env)
    conditions = _find_conditions(arguments, data)
    maze = find_maze(conditions.env_id)
    agents = _parse_agents(arguments.agents or _choose_agents(maze, data))
    world = find_world_of(conditions)
    options = ContenderOptions(
        conditions.env_id,
        arguments.checkpoint,
        arguments.controller,
        assign_device(arguments.device),
        arguments.preset,
        arguments.hold,
        arguments.coordinates,
        data,
    )
    with track_checkpoints() as checkpoints:
        contenders = drop_duplicates(make_contenders(agents, options))
    of_world = {"env_id": arguments.env if data else conditions.env_id} if maze is None else {"maze": maze}
    asked = {"command": "dfplan-bench"} | of_world | {name: getattr(arguments, name) for name in RESULT_OPTIONS}
    short = str(data or _name_shortly(conditions.env_id))
    name = name_folder(short, _make_parser(arguments.env), arguments, ["env"])
    folder = arguments.output or Path("dfplan-bench") / name
    processes = find_processes()
    claim = claim_folder(folder, asked | {"agents": agents}, MODULES, arguments.overwrite, checkpoints)
    with claim if processes.is_first else nullcontext() as output:
        with processes.connect():
            evaluations = {
                name: evaluate(agent, conditions, name, processes=processes, world=world)
                for name, agent in contenders.items()
            }
        if output is not None:
            configs = {name: describe_config(agent) for name, agent in contenders.items()}
            write_results(output, evaluations, configs, format_command(arguments, short))
            title = f"{describe_conditions(conditions)}; 95% intervals in brackets"
            print(f"\n{title}\n\n{format_table(evaluations, configs)}\n\nwritten to {folder}")


def format_command(arguments: Namespace, world: str) -> str:
    """Return the command that reproduces the results; it leaves out the output folder, which does not change them."""
    words, parser = ["dfplan-bench", world], _make_parser(arguments.env)
    for name in (*RESULT_OPTIONS, "checkpoint"):
        value, flag = getattr(arguments, name), f"--{name.replace('_', '-')}"
        if value != parser.get_default(name):
            words += [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def _choose_episodes(env: str) -> int:
    """Return the default number of episodes."""
    return EPISODES if find_ogbench(env) is None else OGBENCH_EPISODES


def _choose_agents(maze: str | None, data: OGBenchName | None) -> str:
    """Return the agents that are compared by default."""
    if data is not None:
        return f"{AGENTS},graph,oracle"
    return AGENTS if maze is None else MAZE_AGENTS


def _find_conditions(arguments: Namespace, data: OGBenchName | None) -> Conditions:
    """Return the conditions that the user has chosen; a data set of OGBench has its tasks.

    Raises:
        InputError: if random goals are asked for where they do not exist.
    """
    env_id, goal = find_env_id(arguments.env), arguments.goal
    if find_maze(env_id) is None:
        if goal != "fixed":
            raise InputError(f"--goal {goal} is for D4RL's mazes; {arguments.env} has goals of its own, or none.")
        goal = None
    return Conditions(
        env_id,
        arguments.episodes,
        arguments.seed,
        goal,
        arguments.seeds,
        max_steps=arguments.max_steps,
        coordinates=arguments.coordinates,
        tasks=() if data is None else TASKS,
    )


def _name_shortly(env_id: str) -> str:
    """Return the name of a world for folders and commands; those of D4RL's mazes have no ``-v1``."""
    maze = find_maze(env_id)
    return env_id if maze is None else f"maze2d-{maze}"


def _make_parser(env: str | None = None) -> CommandParser:
    """Return the parser; once the environment is known, it has the defaults of this environment."""
    text = "Compare agents in any Gymnasium environment; write results.json, episodes.csv, report.md and a picture."
    parser = CommandParser(prog="dfplan-bench", description=text)
    known = "Gymnasium's id, such as Pendulum-v1 or module:Env-v0, a maze: maze2d-large, or a data set of OGBench's"
    parser.add_argument("env", help=f"{known} point mazes: pointmaze-giant-stitch-v0")
    add_common_arguments(parser)
    agents = f"(default: {AGENTS}, of OGBench graph and oracle too; in mazes {MAZE_AGENTS})"
    parser.add_argument("--agents", help=f"comma-separated, of {', '.join(CONTENDERS)} {agents}")
    default = None if env is None else _choose_episodes(env)
    episodes = f"episodes per agent and seed (default: {EPISODES}), of OGBench per task (default: {OGBENCH_EPISODES})"
    parser.add_argument("--episodes", type=positive_integer, default=default, help=episodes)
    parser.add_argument("--seeds", type=positive_integer, default=1, help="how many seeds, from --seed on")
    parser.add_argument(
        "--max-steps", type=positive_integer, help="steps after which episodes are cut (default: the environment's)"
    )
    coordinates = (
        "d4rl: show a PointMaze of gymnasium_robotics in D4RL's coordinates, in which the shipped checkpoints plan"
    )
    parser.add_argument("--coordinates", choices=tuple(COORDINATES), default="own", help=coordinates)
    parser.add_argument(
        "--preset", choices=PRESET_NAMES, default="default", help="settings of the agent planner: fast, or a high score"
    )
    controllers = ", ".join(CONTROLLERS)
    parser.add_argument("--controller", help=f"controller that replaces the agents' own: {controllers}")
    parser.add_argument(
        "--hold", action="store_true", help="hold the end of a plan by a PD law once the plan stands still"
    )
    add_output_arguments(parser, "dfplan-bench/ENV and the arguments that are not defaults")
    return parser


def _parse_agents(text: str) -> list[str]:
    """Return the different agents of a comma-separated list, in the order of the list.

    Raises:
        InputError: if the list is empty or contains an unknown agent.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError(f"--agents names no agent; known are {', '.join(CONTENDERS)}.")
    check_contenders(names)
    return names


if __name__ == "__main__":
    main()
