"""``python -m dfplan.benchmarks.monte_carlo_guidance``: guides, their scales and numbers of futures (§3.4, App. C.5).

As in the paper the model is not told its goal; only guidance leads to the goal. Each row changes one setting of the
planner that is guided along the recording's cost to go.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dfplan.agents.named_guides import make_guide
from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, COST_TO_GO_HORIZON, GOAL_TOKEN
from dfplan.benchmarks.evaluation.episodes import Conditions, begin_first_episode
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap
from dfplan.benchmarks.reporting.ablation import Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_dots, draw_lines
from dfplan.benchmarks.scoring import score_checkpoint
from dfplan.sampling.guidance import Guidance, find_next_committed, guidance_gradient
from dfplan.sampling.prediction import predict
from dfplan.sampling.sampler import sample
from dfplan.sampling.schedules import scheduling_matrix
from dfplan.sampling.sequence import build_sequence

PRESET = "the preset"
# Steps per environment unit at full speed: gives the gradient of a distance the size of that of the cost to go.
STEPS_PER_UNIT = 20.0
DIFFUSED = {"controller": "diffused"}
GUIDED = COST_TO_GO | {"horizon": COST_TO_GO_HORIZON}
# Idea -> the settings that it changes in ``GUIDED``.
IDEAS: dict[str, dict[str, Any]] = {
    PRESET: {},
    "planner-goal-token: a token tells the goal, no guide": GOAL_TOKEN,
    "a token tells the goal as well": {"goal_token": True},
    "no guide, 1 candidate": {"guide": None, "candidates": 1},
    "guide: distance as the crow flies": {
        "guide": "goal_distance",
        "guidance_scale": STEPS_PER_UNIT * COST_TO_GO["guidance_scale"],
    },
    "no limit on a row's shift": {"max_shift": None},
    "a row's shift at most 0.5": {"max_shift": 0.5},
    "a row's shift at most 2": {"max_shift": 2.0},
    "1 candidate": {"candidates": 1},
    "2 candidates": {"candidates": 2},
    "8 candidates": {"candidates": 8},
    "4 candidates, the most consistent": {"selection": "consistency"},
    "4 candidates of scales 0.05, 0.1, 0.15, 0.2": {"guidance_scale": (0.05, 0.1, 0.15, 0.2)},
    "8 candidates of scales 0.02, 0.05, 0.1, 0.2": {"candidates": 8, "guidance_scale": (0.02, 0.05, 0.1, 0.2)},
    "full sequence": {"schedule": "full_sequence"},
    "zig-zag, uncertainty 0.5": {"uncertainty_scale": 0.5},
    "3 sampling steps": {"sampling_steps": 3},
    "10 sampling steps": {"sampling_steps": 10},
    "warm start from level 0.5": {"warm_start": 0.5},
    "replans every 5 steps": {"open_loop_horizon": 5},
    "replans every 20 steps": {"open_loop_horizon": 20},
    "plans 60 steps": {"horizon": 60},
    "plans 180 steps": {"horizon": 180},
    "pursuit 25 steps ahead": {"pursuit_lookahead": 25},
    "own actions, replans every 5 steps": DIFFUSED | {"open_loop_horizon": 5},
    "own actions, replans every 10 steps": DIFFUSED | {"open_loop_horizon": 10},
    "own actions, replans every 5 steps, 1 candidate": DIFFUSED | {"open_loop_horizon": 5, "candidates": 1},
}
# One candidate, for the comparison of scales and futures.
ONE = GUIDED | {"candidates": 1}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison; each future and candidate costs a pass through the network and back in every row.

    Attributes:
        mazes: mazes of the shipped checkpoints.
        episodes: number of episodes of each row.
        ideas: keys of ``IDEAS``.
        futures: pairs of the number N of futures and the denoising steps of each future.
        scales: guidance scales.
        repeats: number of samples from which the variance of the gradient is estimated.
    """

    mazes: tuple[str, ...]
    episodes: int
    ideas: tuple[str, ...] = tuple(IDEAS)
    futures: tuple[tuple[int, int], ...] = ((1, 1), (2, 1), (4, 1), (8, 1), (8, 2))
    scales: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)
    repeats: int = 48


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=32)
QUICK = Settings(
    mazes=("umaze",), episodes=4, ideas=(PRESET, "1 candidate"), futures=((1, 1), (2, 1)), scales=(0.1,), repeats=12
)

EXPLANATION = f"""
The shipped checkpoints plan with the goal token masked, so the model is not told its goal. *The preset* is the agent
`planner` of `dfplan-bench`: guidance along the recording's cost to go that shifts the prediction by at most one
standard deviation of the data per row, a zig-zag schedule of five steps per token, plans of {COST_TO_GO_HORIZON} steps
that are made anew every 10 steps, and four candidates, of which the one with the lowest cost to go is executed. Every
other row changes only the setting that it names. The exception is `planner-goal-token`, the agent of that name of
`dfplan-bench`: it plans as far as it can, denoises all tokens together in three steps, and has one candidate. Rows of
one maze have the same starts. The tables of scales and of futures have one candidate.

N futures: the gradient for the next tokens is the mean over N independently sampled futures. With 2 steps each future
is denoised once more before it is scored (the study `futures` has a maze in which this matters).

The last table measures the variance of this gradient over repeated samples, for one start and a half-denoised plan. If
the variance is proportional to 1/N, then N times the variance is constant.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each idea, each scale and each number of futures, and the variance of the gradient."""
    tables: dict[str, list[Row]] = {}
    for maze in settings.mazes:
        title = f"maze2d-{maze}"
        tables[f"{title}, ideas"] = [
            {"idea": idea} | _measure_scores(maze, idea, GUIDED | IDEAS[idea], settings, run) for idea in settings.ideas
        ]
        tables[f"{title}, scales"] = [
            {"scale": scale} | _measure_scores(maze, f"scale {scale}", ONE | {"guidance_scale": scale}, settings, run)
            for scale in settings.scales
        ]
        tables[f"{title}, futures"] = [_measure_futures(maze, *futures, settings, run) for futures in settings.futures]
    variances = {maze: _measure_variances(maze, settings, run) for maze in settings.mazes}
    tables["Variance of the gradient"] = [row for rows in variances.values() for row in rows]
    return Findings(tables, _draw_figures(tables, variances, settings), EXPLANATION)


def _draw_figures(tables: dict[str, list[Row]], variances: dict[str, list[Row]], settings: Settings) -> dict:
    """Return figures of the scores of ideas and of scales, and of the variance over the number of futures."""
    titles = {f"maze2d-{maze}": maze for maze in settings.mazes}
    ideas = {title: {row["idea"]: row["normalized"] for row in tables[f"{title}, ideas"]} for title in titles}
    scales = {
        title: {"normalized": {row["scale"]: row["normalized"] for row in tables[f"{title}, scales"]}}
        for title in titles
    }
    falls = {maze: {"variance": {row["N"]: row["variance"] for row in rows}} for maze, rows in variances.items()}
    return {
        "ideas": draw_dots(ideas, "normalized"),
        "scales": draw_lines(scales, "guidance scale", "normalized", log_x=True),
        "variance": draw_lines(falls, "futures N", "variance of the gradient", log_x=True),
    }


def _measure_futures(maze: str, number: int, steps: int, settings: Settings, run: Run) -> Row:
    own = ONE | {"num_futures": number, "future_steps": steps}
    return {"N": number, "future steps": steps} | _measure_scores(
        maze, f"N = {number}, {steps} steps", own, settings, run
    )


def _measure_scores(maze: str, label: str, own: dict[str, Any], settings: Settings, run: Run) -> Row:
    return score_checkpoint(f"maze2d-{maze}", maze, own, settings.episodes, run, f"{maze}, {label}")


def _measure_variances(maze: str, settings: Settings, run: Run) -> list[Row]:
    """Return rows with the variance of the next tokens' gradient over repeated samples of N futures."""
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **ONE)
    observation, goal = begin_first_episode(agent, Conditions(f"maze2d-{maze}-v1", 1, run.seed))
    tokens, levels = _denoise_half_way(agent, observation, run.seed)
    model = agent.model
    goals = torch.tensor(goal[None], dtype=torch.float32, device=tokens.device).expand(settings.repeats, -1)
    guide = make_guide("cost_to_go", model, goals)
    tokens = tokens.expand(settings.repeats, -1, -1).clone().requires_grad_()
    committed = find_next_committed(levels, model.config.num_levels)
    x0, rows = predict(model, tokens, levels)[0], []
    for futures in dict.fromkeys(
        number for number, _ in settings.futures if number > 1
    ):  # one future is the sequence itself, without samples
        generators = [torch.Generator().manual_seed(run.seed + repeat) for repeat in range(settings.repeats)]
        guidance = Guidance(guide, num_futures=futures)
        gradient = guidance_gradient(model, tokens, x0, levels, guidance, generators)[:, committed]
        variance = _estimate_variance(gradient.flatten(1).cpu().numpy())
        scaled = Estimate(*(futures * value for value in (variance.value, variance.low, variance.high)))
        rows.append({"maze": maze, "N": futures, "variance": variance, "N times variance": scaled})
    return rows


def _denoise_half_way(agent: DFPlanner, observation: np.ndarray, seed: int):
    """Return a sequence (1, time, channel) after half the rows of an unguided pyramid, and its levels (time,)."""
    model, config = agent.model, agent.config
    sizes = (model.config.num_tokens, config.sampling.sampling_steps, model.config.num_levels)
    plan_levels = scheduling_matrix("pyramid", *sizes, config.sampling.uncertainty_scale)
    half, generators = len(plan_levels) // 2, [torch.Generator().manual_seed(seed)]
    start = model.codec.encode_start(torch.tensor(observation, dtype=torch.float32, device=model.alpha_bar.device))
    start_levels = torch.zeros(half + 1, 1, dtype=torch.long)
    sequence = build_sequence(model, start, start_levels, plan_levels[: half + 1], generators)
    with torch.no_grad():
        return sample(model, sequence, generators), sequence.matrix[-1]


def _estimate_variance(gradients: np.ndarray) -> Estimate:
    """Return the total variance of vectors (repeat, component): the mean squared distance to their mean."""
    deviations = np.square(gradients - gradients.mean(axis=0)).sum(axis=1)
    return bootstrap(deviations * len(deviations) / (len(deviations) - 1))


if __name__ == "__main__":
    main("monte_carlo_guidance", __doc__, study, FULL, QUICK)
