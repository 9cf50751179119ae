"""Pictures of one plan, finished and while it is denoised.

``python -m dfplan.benchmarks.plan_pictures maze2d-large`` writes ``plan.png``, ``denoising.gif`` and ``results.json``,
which says what was drawn.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dfplan.benchmarks.contenders import ContenderOptions, add_common_arguments, described_config, make_contenders
from dfplan.benchmarks.evaluation import Agent, Conditions, first_observation
from dfplan.benchmarks.figures import denoising_animation, plan_over_maze, save_figure
from dfplan.benchmarks.report import versions
from dfplan.benchmarks.run_folder import add_output_arguments, claimed, folder_name
from dfplan.envs.errors import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.envs.layouts import LAYOUTS, maze_name
from dfplan.loaded import recorded_checkpoints

FORMAT = 1  # of results.json
MODULE = "dfplan.benchmarks.plan_pictures"
DECISIVE = ("agent", "seed", "goal", "sampling_steps", "device")  # settings that decide about the plan
PLANNERS = ("planner", "planner-guided", "planner-goal-token", "policy", "planner-mcg")
MOST_FRAMES = 60  # of the animation; more rows than that are thinned out evenly


def write_plan_pictures(agent: Agent, conditions: Conditions, output: Path, name: str = "planner") -> None:
    """Write ``plan.png`` and ``denoising.gif`` of the first plan of the first episode under ``conditions``."""
    layout = LAYOUTS[maze_name(conditions.env_id)]
    obs, goal = first_observation(agent, conditions)
    plan = agent.plan(obs, keep_rows=True)
    start = obs[0, None, :2]  # (1, 2); plans begin after the first step
    positions = np.concatenate([start, plan.observations[0, :, :2]])  # (time, 2)
    title = f"{name}: a plan of {len(positions) - 1} steps"
    save_figure(plan_over_maze(layout, positions[None], goal, title), output / "plan.png")
    shown = np.unique(np.linspace(0, len(plan.rows) - 1, MOST_FRAMES).round().astype(int))
    frames = [np.concatenate([start, plan.rows[row][0][0, :, :2]]) for row in shown]  # (time, 2) each
    levels = [np.concatenate([[0.0], plan.rows[row][1]]) for row in shown]  # (time,) each
    denoising_animation(layout, frames, levels, output / "denoising.gif", goal)


@exit_two_on_input_error
def main() -> None:
    """Run the command."""
    arguments = _parser().parse_args()
    maze = f"maze2d-{maze_name(arguments.maze)}"
    conditions = Conditions(f"{maze}-v1", episodes=1, seed=arguments.seed, goal=arguments.goal)
    options = ContenderOptions(conditions.env_id, arguments.checkpoint, device=arguments.device)
    with recorded_checkpoints() as checkpoints:
        agent = make_contenders([arguments.agent], options)[arguments.agent]
    agent.config = replace(agent.config, sampling_steps=arguments.sampling_steps)
    asked = {"command": "plan_pictures", "maze": maze} | {name: getattr(arguments, name) for name in DECISIVE}
    folder = arguments.output or Path("plan-pictures") / folder_name(maze, _parser(), arguments, ["maze"])
    contents = {"format": FORMAT, "env_id": conditions.env_id, "versions": versions()}
    contents["config"] = described_config(agent)
    claim = claimed(folder, asked, [MODULE], arguments.overwrite, checkpoints)
    with claim as output, output.replaced(contents) as unfinished:
        write_plan_pictures(agent, conditions, unfinished, arguments.agent)
    print(f"written to {folder}: plan.png and denoising.gif")


def _parser() -> CommandParser:
    parser = CommandParser(prog="dfplan.benchmarks.plan_pictures", description="Draw one plan.")
    add_common_arguments(parser)
    parser.add_argument("--agent", choices=PLANNERS, default="planner", help="who plans")
    # The agent itself takes a few large steps, too few for an animation.
    parser.add_argument("--sampling-steps", type=positive_integer, default=24, help="denoising steps of each token")
    add_output_arguments(parser, "plan-pictures/MAZE and what is asked for instead of the defaults")
    return parser


if __name__ == "__main__":
    main()
