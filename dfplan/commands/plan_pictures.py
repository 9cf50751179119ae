"""``python -m dfplan.commands.plan_pictures maze2d-large``: draws one plan and an animation of its denoising.

It writes ``plan.png``, ``denoising.gif``, and ``results.json``, which records the settings.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dfplan.benchmarks.evaluation.contenders import (
    ContenderOptions,
    add_common_arguments,
    describe_config,
    make_contenders,
)
from dfplan.benchmarks.evaluation.episodes import Conditions, Planner, PlanningAgent, begin_first_episode
from dfplan.benchmarks.evaluation.machine import find_versions
from dfplan.benchmarks.reporting.figures import draw_plans, save_figure, write_denoising_animation
from dfplan.benchmarks.reporting.run_folder import add_output_arguments, claim_folder, name_folder
from dfplan.envs.layouts import LAYOUTS, parse_maze_name
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.training.loaded_checkpoints import track_checkpoints

FORMAT = 1  # of results.json
MODULE = "dfplan.commands.plan_pictures"
RESULT_OPTIONS = ("agent", "seed", "goal", "sampling_steps", "device")  # options that change the plan
PLANNERS = ("planner", "planner-guided", "planner-goal-token", "policy", "planner-mcg")
MOST_FRAMES = 60  # of the animation; of more denoising steps, evenly spaced ones are shown


def write_plan_pictures(agent: PlanningAgent, conditions: Conditions, output: Path, name: str = "planner") -> None:
    """Write ``plan.png`` and ``denoising.gif`` of the first plan of the first episode.

    Args:
        agent: a planner.
        conditions: environment, seed and goal.
        output: folder of the files.
        name: name of the agent in the title.
    """
    layout = LAYOUTS[parse_maze_name(conditions.env_id)]
    obs, goal = begin_first_episode(agent, conditions)
    plan = agent.plan(obs, keep_rows=True)
    start = obs[0, None, :2]  # (1, 2); the first observation of a plan is after the first step
    positions = np.concatenate([start, plan.observations[0, :, :2]])  # (time, 2)
    title = f"{name}: a plan of {len(positions) - 1} steps"
    save_figure(draw_plans(layout, positions[None], goal, title), output / "plan.png")
    shown = np.unique(np.linspace(0, len(plan.rows) - 1, MOST_FRAMES).round().astype(int))
    frames = [np.concatenate([start, plan.rows[row][0][0, :, :2]]) for row in shown]  # (time, 2) each
    levels = [np.concatenate([[0.0], plan.rows[row][1]]) for row in shown]  # (time,) each
    write_denoising_animation(layout, frames, levels, output / "denoising.gif", goal)


@exit_two_on_input_error
def main() -> None:
    """Run the command."""
    arguments = _make_parser().parse_args()
    maze = f"maze2d-{parse_maze_name(arguments.maze)}"
    conditions = Conditions(f"{maze}-v1", episodes=1, seed=arguments.seed, goal=arguments.goal)
    options = ContenderOptions(conditions.env_id, arguments.checkpoint, device=arguments.device)
    with track_checkpoints() as checkpoints:
        agent = make_contenders([arguments.agent], options)[arguments.agent]
    assert isinstance(agent, Planner)  # as all of PLANNERS are
    agent.config = replace(agent.config, sampling_steps=arguments.sampling_steps)
    asked = {"command": "plan_pictures", "maze": maze} | {name: getattr(arguments, name) for name in RESULT_OPTIONS}
    folder = arguments.output or Path("plan-pictures") / name_folder(maze, _make_parser(), arguments, ["maze"])
    contents = {"format": FORMAT, "env_id": conditions.env_id, "versions": find_versions()}
    contents["config"] = describe_config(agent)
    claim = claim_folder(folder, asked, [MODULE], arguments.overwrite, checkpoints)
    with claim as output, output.replace_files(contents) as unfinished:
        write_plan_pictures(agent, conditions, unfinished, arguments.agent)
    print(f"written to {folder}: plan.png and denoising.gif")


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog="dfplan.commands.plan_pictures", description="Draw one plan and an animation of its denoising."
    )
    parser.add_argument("maze", help="maze2d-umaze, maze2d-medium or maze2d-large; the -v1 may be left out")
    add_common_arguments(parser)
    parser.add_argument("--agent", choices=PLANNERS, default="planner", help="the agent that plans")
    # By default the agent takes too few denoising steps for an animation.
    parser.add_argument("--sampling-steps", type=positive_integer, default=24, help="denoising steps of each token")
    add_output_arguments(parser, "plan-pictures/MAZE and the arguments that are not defaults")
    return parser


if __name__ == "__main__":
    main()
