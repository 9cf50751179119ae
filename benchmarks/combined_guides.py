"""``python -m dfplan.benchmarks.combined_guides``: guidance by the cost to go and a second guide (§3.4, App. B.5).

Each row adds one guide to ``cost_to_go``, as in ``DFPlanner.load(..., guide=("cost_to_go", KeepOut(...)))``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation.driving import EpisodeBatch, run_episodes
from dfplan.benchmarks.evaluation.episodes import draw_episode_seeds
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import bootstrap, estimate_proportion
from dfplan.benchmarks.reporting.ablation import Findings, Run, main
from dfplan.benchmarks.reporting.charts import COLOURS
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK, draw_layout, draw_marks
from dfplan.data.trajectories import Trajectories
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.maze_task import POSITION_SPREAD, is_success
from dfplan.envs.physics import PointMassPhysics
from dfplan.sampling.guides import KeepOut, WayPoint, speed_limit

MAZE, START, GOAL = "large", (3.0, 4.0), (7.0, 9.0)
DISC = KeepOut((4.5, 6.0), radius=0.7, weight=100.0)  # on the short way
SPEED, VELOCITY = 2.0, slice(2, 4)  # environment units per second; channels of the observation
POINT = WayPoint((7.0, 5.0))  # in a dead end off the way
PANEL_SIZE = (3.6, 2.9)  # inches


def gentle(plan: Trajectories):
    """Return minus the squared actions of each plan (batch,). Any function of a plan can be a guide."""
    return -30.0 * plan.actions.square().sum(dim=(1, 2))


GUIDES: dict[str, Any] = {
    "cost to go": "cost_to_go",
    "and out of a disc": ("cost_to_go", DISC),
    "and not too fast": ("cost_to_go", speed_limit(SPEED, VELOCITY, weight=10.0)),
    "and by a way point": ("cost_to_go", POINT),
    "and gently (own function)": ("cost_to_go", gentle),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the episodes of each guide, their length in steps, and the controller.

    The plans' own actions are executed, because pursuit drives as fast as it can, whatever the speed of a plan.
    """

    episodes: int
    num_steps: int
    guides: tuple[str, ...] = tuple(GUIDES)
    controller: str = "diffused"


FULL = Settings(episodes=24, num_steps=600)
QUICK = Settings(episodes=4, num_steps=100, guides=tuple(GUIDES)[:2])

EXPLANATION = f"""
The shipped planner of maze2d-{MAZE} drives from starts around one point to one goal, by its plans' own actions. Every
row except the first adds one guide to the cost to go. The disc around {DISC.centre} of radius {DISC.radius} lies on the
short way; the cost to go loses its landmarks in the disc, so that it leads around it. The speed limit is {SPEED} units
per second. The way point {POINT.point} lies in a dead end off the way; a path passes it if it comes within
{POINT.radius} of it. The last guide is a function that this study defines, minus the squared actions. `arrives`: the
episode ends at the goal. `steps to the goal`: of the episodes that reach it.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return measures of the agent's motion under each guide, and a picture of its paths."""
    driven = {name: _run_guide(name, settings, run) for name in settings.guides}
    rows = [{"guide": name, "episodes": settings.episodes} | _measure_row(one) for name, one in driven.items()]
    return Findings({f"maze2d-{MAZE}": rows}, {"paths": _draw_ways(driven)}, EXPLANATION)


def _measure_row(driven: EpisodeBatch) -> Row:
    """Return the columns of the table for one guide."""
    speeds = np.linalg.norm(driven.states[..., VELOCITY], axis=-1)
    at_goal = is_success(driven.paths, np.array(GOAL))  # (episode, start_and_step)
    in_disc = np.linalg.norm(driven.paths - np.array(DISC.centre), axis=-1) < DISC.radius
    by_point = np.linalg.norm(driven.paths - np.array(POINT.point), axis=-1) < POINT.radius
    return {
        "arrives": estimate_proportion(at_goal[:, -1]),
        "steps to the goal": bootstrap(at_goal[at_goal.any(axis=1)].argmax(axis=1).astype(float)),
        "enters the disc": estimate_proportion(in_disc.any(axis=1)),
        "passes the way point": estimate_proportion(by_point.any(axis=1)),
        "share of steps too fast": bootstrap((speeds > SPEED).mean(axis=1)),
        "mean squared action": bootstrap(np.square(driven.actions).sum(axis=-1).mean(axis=1)),
    }


def _run_guide(name: str, settings: Settings, run: Run) -> EpisodeBatch:
    agent = DFPlanner.load(f"maze2d-{MAZE}", run.device, guide=GUIDES[name], controller=settings.controller)
    start_seeds, agent_seeds = zip(*(draw_episode_seeds(run.seed, episode) for episode in range(settings.episodes)))
    spread = [np.random.default_rng(seed).uniform(-POSITION_SPREAD, POSITION_SPREAD, 2) for seed in start_seeds]
    states = np.concatenate([np.array(START) + spread, np.zeros((settings.episodes, 2))], axis=1)
    goals, physics = np.tile(GOAL, (settings.episodes, 1)), PointMassPhysics(LAYOUTS[MAZE])
    return run_episodes(agent, physics, states, settings.num_steps, goals, agent_seeds, name)


def _draw_ways(driven: dict[str, EpisodeBatch]) -> Figure:
    """Return a figure with one panel per guide: the paths, and the disc or the way point of the guide."""
    size = (PANEL_SIZE[0] * len(driven), PANEL_SIZE[1])
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    for axes, (name, found) in zip(figure.subplots(1, len(driven), squeeze=False)[0], driven.items()):
        draw_layout(axes, LAYOUTS[MAZE])
        _draw_guide(axes, name)
        for path in found.paths:
            axes.plot(path[:, 1], path[:, 0], color=COLOURS[0], linewidth=0.8, alpha=0.5)
        draw_marks(axes, np.array(START), np.array(GOAL))
        axes.set_title(name, fontsize=10, color=INK)
    return figure


def _draw_guide(axes: Axes, name: str) -> None:
    """Draw the disc or the way point of a guide, if it has one."""
    if "disc" in name:
        axes.add_patch(Circle((DISC.centre[1], DISC.centre[0]), DISC.radius, color=COLOURS[1], alpha=0.5, zorder=3))
    if "way point" in name:
        axes.plot(POINT.point[1], POINT.point[0], "P", color=COLOURS[1], markersize=9, zorder=4)


if __name__ == "__main__":
    main("combined_guides", __doc__, study, FULL, QUICK)
