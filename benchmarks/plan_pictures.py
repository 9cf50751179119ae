"""Pictures of one plan, finished and while it is denoised.

``python -m dfplan.benchmarks.plan_pictures maze2d-large --output DIR`` writes ``plan.png`` and ``denoising.gif``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dfplan.benchmarks.contenders import ContenderOptions, add_common_arguments, make_contenders
from dfplan.benchmarks.evaluation import Agent, Conditions, first_observation
from dfplan.benchmarks.figures import denoising_animation, plan_over_maze, save_figure
from dfplan.envs.errors import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.envs.files import writable_folder
from dfplan.envs.layouts import LAYOUTS, maze_name

PLANNERS = ("planner", "policy", "planner-mcg")
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
    conditions = Conditions(
        f"maze2d-{maze_name(arguments.maze)}-v1", episodes=1, seed=arguments.seed, goal=arguments.goal
    )
    options = ContenderOptions(conditions.env_id, arguments.checkpoint, device=arguments.device)
    agent = make_contenders([arguments.agent], options)[arguments.agent]
    agent.config = replace(agent.config, sampling_steps=arguments.sampling_steps)
    output = writable_folder(arguments.output)
    write_plan_pictures(agent, conditions, output, arguments.agent)
    print(f"written to {output}: plan.png and denoising.gif")


def _parser() -> CommandParser:
    parser = CommandParser(prog="dfplan.benchmarks.plan_pictures", description="Draw one plan.")
    add_common_arguments(parser)
    parser.add_argument("--agent", choices=PLANNERS, default="planner", help="who plans")
    # The agent itself takes a few large steps, too few for an animation.
    parser.add_argument("--sampling-steps", type=positive_integer, default=24, help="denoising steps of each token")
    parser.add_argument("--output", type=Path, default=Path("plan-pictures"), help="folder for the pictures")
    return parser


if __name__ == "__main__":
    main()
