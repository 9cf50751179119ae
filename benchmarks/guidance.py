"""``python -m dfplan.benchmarks.guidance``: Monte-Carlo guidance, on and off, over futures and scales (§3.4, App. C.5).

The goal token is masked, as in the paper: the unconditional model knows of the goal by guidance alone.
"""

from dataclasses import dataclass

import numpy as np
import torch

from dfplan.agents.guides import GOAL_GUIDES
from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import MONTE_CARLO_GUIDANCE
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import lines
from dfplan.benchmarks.evaluation import Conditions, evaluate, first_observation
from dfplan.benchmarks.statistics import Estimate, bootstrap
from dfplan.noise import draw_noise
from dfplan.sampler import Guidance, about_to_be_committed, monte_carlo_gradient, predict, sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import START


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison; each future costs a pass through the network and back in every row."""

    mazes: tuple[str, ...]
    goals: tuple[str, ...]  # fixed: Maze2D, random: Multi2D
    episodes: int
    futures: tuple[int, ...]
    scales: tuple[float, ...]
    repeats: int  # of the gradient whose variance is measured
    scale: float = MONTE_CARLO_GUIDANCE["guidance_scale"]  # where the futures are varied
    scanned_futures: int = 2  # where the scales are varied


FULL = Settings(
    mazes=("umaze", "medium", "large"),
    goals=("fixed",),
    episodes=16,
    futures=(1, 2, 4, 8),
    scales=(0.25, 1.0, 2.0, 4.0),
    repeats=48,
)
QUICK = Settings(mazes=("umaze",), goals=("fixed",), episodes=4, futures=(1, 4), scales=(4.0,), repeats=12)

EXPLANATION = """
The shipped checkpoints with the goal token masked at the last level: `off` draws plans without any goal, all others
follow the gradient of the goal distance along a pyramid. N futures: the gradient for the tokens about to be
committed is the mean over N independently drawn futures. All contenders of a table run the same episodes with as many
rows and replans.

The last table measures the gradient itself, half-way down the schedule from one start: the variance of its committed
part over repeated draws; times N it is constant if it falls like 1/N.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return scores over futures and over scales for each maze and goal, and the variance of the gradient."""
    tables: dict[str, list[Row]] = {}
    by_futures, by_scale = {}, {}
    for maze in settings.mazes:
        for goal in settings.goals:
            title = f"{'Maze2D' if goal == 'fixed' else 'Multi2D'} {maze}"
            rows = [_row(maze, goal, *case, settings, run) for case in _cases(settings)]
            tables[title] = rows
            at_scale = [row for row in rows if row["scale"] == settings.scale]
            by_futures[title] = {"normalized": {row["N"]: row["normalized"] for row in at_scale}}
            scanned = sorted(
                (row for row in rows if row["N"] == settings.scanned_futures), key=lambda row: row["scale"]
            )
            by_scale[title] = {"normalized": {row["scale"]: row["normalized"] for row in scanned}}
    variances = {maze: _variances(maze, settings, run) for maze in settings.mazes}
    tables["Variance of the gradient"] = [row for rows in variances.values() for row in rows]
    falls = {maze: {"variance": {row["N"]: row["variance"] for row in rows}} for maze, rows in variances.items()}
    figures = {
        "futures": lines(by_futures, "futures N", "normalized", log_x=True),
        "scales": lines(by_scale, "guidance scale", "normalized", log_x=True),
        "variance": lines(falls, "futures N", "variance of the gradient", log_x=True),
    }
    return Findings(tables, figures, EXPLANATION)


def _cases(settings: Settings) -> list[tuple[int, float]]:
    """Return (futures, scale) of every contender; scale 0 is guidance off."""
    cases = [(1, 0.0), *((futures, settings.scale) for futures in settings.futures)]
    return list(dict.fromkeys(cases + [(settings.scanned_futures, scale) for scale in settings.scales]))


def _row(maze: str, goal: str, futures: int, scale: float, settings: Settings, run: Run) -> Row:
    agent = _agent(maze, run, num_futures=futures, guidance_scale=scale)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed, goal)
    evaluation = evaluate(agent, conditions, f"{maze}, {goal} goal, N = {futures}, scale {scale}", timed=False)
    return {"guidance": "on" if scale else "off", "N": futures, "scale": scale} | score_row(evaluation)


def _agent(maze: str, run: Run, **changed) -> DFPlanner:
    if changed.get("guidance_scale") == 0.0:
        changed |= {"guide": None}
    return DFPlanner.load(f"maze2d-{maze}", run.device, **(MONTE_CARLO_GUIDANCE | changed))


def _variances(maze: str, settings: Settings, run: Run) -> list[Row]:
    """Return the variance of the committed tokens' gradient over repeated draws of N futures, half-way down."""
    agent = _agent(maze, run)
    observation, goal = first_observation(agent, Conditions(f"maze2d-{maze}-v1", 1, run.seed))
    tokens, levels = _half_way(agent, observation, run.seed)
    model = agent.model
    goals = torch.tensor(goal[None], dtype=torch.float32, device=tokens.device)
    guide = GOAL_GUIDES[MONTE_CARLO_GUIDANCE["guide"]](goals, model.config.frame_stack)
    tokens = tokens.expand(settings.repeats, -1, -1).clone().requires_grad_()
    committed = about_to_be_committed(levels, model.config.num_levels)
    rows = []
    for futures in (number for number in settings.futures if number > 1):  # a single future is the sequence itself
        generators = [torch.Generator().manual_seed(run.seed + repeat) for repeat in range(settings.repeats)]
        guidance = Guidance(guide, num_futures=futures)
        x0, _ = predict(model, tokens, levels)  # anew, since a gradient uses it up
        gradient = monte_carlo_gradient(model, tokens, x0, levels, guidance, generators)[:, committed]
        variance = _variance(gradient.flatten(1).cpu().numpy())
        scaled = Estimate(*(futures * value for value in (variance.value, variance.low, variance.high)))
        rows.append({"maze": maze, "N": futures, "variance": variance, "N times variance": scaled})
    return rows


def _half_way(agent: DFPlanner, observation: np.ndarray, seed: int):
    """Return one sequence (1, time, channel) half-way down an unguided pyramid, and its levels (time,)."""
    model, config = agent.model, agent.config
    sizes = (model.config.num_tokens, config.sampling_steps, model.config.num_levels)
    planned = scheduling_matrix("pyramid", *sizes, config.uncertainty_scale)
    known = torch.tensor([model.config.num_levels, 0]).expand(len(planned), -1)  # goal masked, start clean
    matrix = torch.cat([known, planned], dim=1).to(model.alpha_bar.device)
    generators = [torch.Generator().manual_seed(seed)]
    tokens = draw_noise((matrix.shape[1], model.config.token_dim), generators, matrix.device)
    tokens = tokens * model.codec.used_channels(model.config.num_tokens)
    start = torch.tensor(observation, dtype=torch.float32, device=tokens.device)
    tokens[:, START] = model.codec.encode_start(start)[:, 0]
    half = len(matrix) // 2
    with torch.no_grad():
        return sample(model, tokens, matrix[: half + 1], generators), matrix[half]


def _variance(gradients: np.ndarray) -> Estimate:
    """Return the total variance of vectors (repeat, part): the mean squared distance to their mean."""
    deviations = np.square(gradients - gradients.mean(axis=0)).sum(axis=1)
    return bootstrap(deviations * len(deviations) / (len(deviations) - 1))


if __name__ == "__main__":
    main("guidance", __doc__, study, FULL, QUICK)
