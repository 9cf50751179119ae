"""``dfplan-bench``: compares agents on one maze and writes what they did.

``torchrun --nproc-per-node N -m dfplan.benchmarks.bench ...`` does the same with N processes that share the episodes.
"""

import shlex
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

from dfplan.agents.controllers import CONTROLLERS
from dfplan.benchmarks.contenders import (
    CONTENDERS,
    PRESET_NAMES,
    ContenderOptions,
    add_common_arguments,
    check_contenders,
    described_config,
    make_contenders,
    without_twins,
)
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.outputs import write_results
from dfplan.benchmarks.report import counted_episodes, table
from dfplan.benchmarks.run_folder import add_output_arguments, claimed, folder_name
from dfplan.distributed import launched, one_voice, own_device
from dfplan.envs.errors import CommandParser, InputError, exit_two_on_input_error, positive_integer
from dfplan.envs.layouts import maze_name
from dfplan.loaded import recorded_checkpoints

DEFAULT_AGENTS = "planner,planner-goal-token,policy,waypoint"
# Whose code makes the numbers in the report: those of the episodes, and those that they are compared with.
MODULES = ("dfplan.benchmarks.bench", "dfplan.benchmarks.kinematic_limit", "dfplan.benchmarks.published")
# Settings that decide about the numbers; the checkpoint does by its contents, not by its name.
DECISIVE = ("agents", "episodes", "seed", "seeds", "goal", "preset", "controller", "hold", "device")


@exit_two_on_input_error
@one_voice()
def main() -> None:
    """Run the command; everything the user gave is checked before anything is computed."""
    arguments = _parser().parse_args()
    maze, agents = maze_name(arguments.maze), _agent_names(arguments.agents)
    conditions = Conditions(f"maze2d-{maze}-v1", arguments.episodes, arguments.seed, arguments.goal, arguments.seeds)
    options = ContenderOptions(
        conditions.env_id,
        arguments.checkpoint,
        arguments.controller,
        own_device(arguments.device),
        arguments.preset,
        arguments.hold,
    )
    with recorded_checkpoints() as checkpoints:
        contenders = without_twins(make_contenders(agents, options))
    asked = {"command": "dfplan-bench", "maze": maze} | {name: getattr(arguments, name) for name in DECISIVE}
    folder = arguments.output or Path("dfplan-bench") / folder_name(f"maze2d-{maze}", _parser(), arguments, ["maze"])
    processes = launched()
    claim = claimed(folder, asked | {"agents": agents}, MODULES, arguments.overwrite, checkpoints)
    with claim if processes.is_first else nullcontext() as output:
        with processes.connected():
            evaluations = {
                name: evaluate(agent, conditions, name, processes=processes) for name, agent in contenders.items()
            }
        if processes.is_first:
            configs = {name: described_config(agent) for name, agent in contenders.items()}
            write_results(output, evaluations, configs, reproducing_command(arguments, maze))
            title = f"{conditions.env_id}, {conditions.goal} goal, {counted_episodes(conditions)}"
            print(f"\n{title}; 95% intervals in brackets\n\n{table(evaluations, configs)}\n\nwritten to {folder}")


def reproducing_command(arguments: Namespace, maze: str) -> str:
    """Return the command that gives the same numbers; the output folder does not matter for them."""
    words = ["dfplan-bench", f"maze2d-{maze}"]
    for flag in (*DECISIVE, "checkpoint"):
        value = getattr(arguments, flag)
        if value != _parser().get_default(flag):
            words += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
    return shlex.join(words)


def _parser() -> CommandParser:
    text = "Compare agents on a D4RL maze; write results.json, episodes.csv, report.md and paths.png."
    parser = CommandParser(prog="dfplan-bench", description=text)
    add_common_arguments(parser)
    parser.add_argument("--agents", default=DEFAULT_AGENTS, help=f"comma-separated, of {', '.join(CONTENDERS)}")
    parser.add_argument("--episodes", type=positive_integer, default=100, help="episodes per agent and seed")
    parser.add_argument("--seeds", type=positive_integer, default=1, help="how many seeds, from --seed on")
    parser.add_argument(
        "--preset", choices=PRESET_NAMES, default="default", help="of the agent planner: score against speed"
    )
    controllers = ", ".join(CONTROLLERS)
    parser.add_argument("--controller", help=f"from plans to actions, instead of the agent's own: {controllers}")
    parser.add_argument("--hold", action="store_true", help="hold the end of a plan by a PD law once it stands still")
    add_output_arguments(parser, "dfplan-bench/MAZE and what is asked for instead of the defaults")
    return parser


def _agent_names(text: str) -> list[str]:
    """Return the agents of a comma-separated list, each once, in its order."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError(f"--agents names no agent; known are {', '.join(CONTENDERS)}.")
    check_contenders(names)
    return names


if __name__ == "__main__":
    main()
