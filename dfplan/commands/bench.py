"""``dfplan-bench``: compares agents on one maze and writes their scores and their executed paths.

``torchrun --nproc-per-node N -m dfplan.commands.bench ...`` shares the episodes among N processes.
"""

import shlex
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

from dfplan.agents.controllers import CONTROLLERS
from dfplan.agents.preset_names import PRESET_NAMES
from dfplan.benchmarks.evaluation.contenders import (
    CONTENDERS,
    ContenderOptions,
    add_common_arguments,
    check_contenders,
    describe_config,
    drop_duplicates,
    make_contenders,
)
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.benchmarks.reporting.outputs import write_results
from dfplan.benchmarks.reporting.report import describe_episodes, format_table
from dfplan.benchmarks.reporting.run_folder import add_output_arguments, claim_folder, name_folder
from dfplan.envs.layouts import parse_maze_name
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.ground.errors import InputError
from dfplan.ground.processes import assign_device, find_processes, report_error_once
from dfplan.training.loaded_checkpoints import track_checkpoints

DEFAULT_AGENTS = "planner,planner-goal-token,policy,waypoint"
# The modules whose code determines the numbers of the report. The last two give the numbers for comparison.
MODULES = (
    "dfplan.commands.bench",
    "dfplan.benchmarks.evaluation.kinematic_limit",
    "dfplan.benchmarks.reporting.published",
)
# Options that change the results. The checkpoint is not among them: its contents matter and not its name.
RESULT_OPTIONS = ("agents", "episodes", "seed", "seeds", "goal", "preset", "controller", "hold", "device")


@exit_two_on_input_error
@report_error_once()
def main() -> None:
    """Run the command. All inputs are checked before anything is computed."""
    arguments = _make_parser().parse_args()
    maze, agents = parse_maze_name(arguments.maze), _parse_agents(arguments.agents)
    conditions = Conditions(f"maze2d-{maze}-v1", arguments.episodes, arguments.seed, arguments.goal, arguments.seeds)
    options = ContenderOptions(
        conditions.env_id,
        arguments.checkpoint,
        arguments.controller,
        assign_device(arguments.device),
        arguments.preset,
        arguments.hold,
    )
    with track_checkpoints() as checkpoints:
        contenders = drop_duplicates(make_contenders(agents, options))
    asked = {"command": "dfplan-bench", "maze": maze} | {name: getattr(arguments, name) for name in RESULT_OPTIONS}
    name = name_folder(f"maze2d-{maze}", _make_parser(), arguments, ["maze"])
    folder = arguments.output or Path("dfplan-bench") / name
    processes = find_processes()
    claim = claim_folder(folder, asked | {"agents": agents}, MODULES, arguments.overwrite, checkpoints)
    with claim if processes.is_first else nullcontext() as output:
        with processes.connect():
            evaluations = {
                name: evaluate(agent, conditions, name, processes=processes) for name, agent in contenders.items()
            }
        if output is not None:
            configs = {name: describe_config(agent) for name, agent in contenders.items()}
            write_results(output, evaluations, configs, format_command(arguments, maze))
            title = f"{conditions.env_id}, {conditions.goal} goal, {describe_episodes(conditions)}"
            print(
                f"\n{title}; 95% intervals in brackets\n\n{format_table(evaluations, configs)}\n\nwritten to {folder}"
            )


def format_command(arguments: Namespace, maze: str) -> str:
    """Return the command that reproduces the results; it leaves out the output folder, which does not change them."""
    words = ["dfplan-bench", f"maze2d-{maze}"]
    for flag in (*RESULT_OPTIONS, "checkpoint"):
        value = getattr(arguments, flag)
        if value != _make_parser().get_default(flag):
            words += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
    return shlex.join(words)


def _make_parser() -> CommandParser:
    text = "Compare agents on a D4RL maze; write results.json, episodes.csv, report.md and paths.png."
    parser = CommandParser(prog="dfplan-bench", description=text)
    add_common_arguments(parser)
    parser.add_argument("--agents", default=DEFAULT_AGENTS, help=f"comma-separated, of {', '.join(CONTENDERS)}")
    parser.add_argument("--episodes", type=positive_integer, default=100, help="episodes per agent and seed")
    parser.add_argument("--seeds", type=positive_integer, default=1, help="how many seeds, from --seed on")
    parser.add_argument(
        "--preset", choices=PRESET_NAMES, default="default", help="settings of the agent planner: fast, or a high score"
    )
    controllers = ", ".join(CONTROLLERS)
    parser.add_argument("--controller", help=f"controller that replaces the agents' own: {controllers}")
    parser.add_argument(
        "--hold", action="store_true", help="hold the end of a plan by a PD law once the plan stands still"
    )
    add_output_arguments(parser, "dfplan-bench/MAZE and the arguments that are not defaults")
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
