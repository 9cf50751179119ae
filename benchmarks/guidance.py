"""``python -m dfplan.benchmarks.guidance``: what guides a plan, how strongly, with how many futures (§3.4, C.5).

The goal token is masked, as in the paper: the unconditional model knows of the goal by guidance alone. Each row changes
one setting of the planner that is guided along the recording's cost to go.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dfplan.agents.guides import make_guide
from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, COST_TO_GO_HORIZON, GOAL_TOKEN
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import dots, lines
from dfplan.benchmarks.evaluation import Conditions, evaluate, first_observation
from dfplan.benchmarks.statistics import Estimate, bootstrap
from dfplan.noise import draw_noise
from dfplan.sampler import Guidance, about_to_be_committed, monte_carlo_gradient, predict, sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import START

PRESET = "the preset"
# Steps at full speed per environment unit: makes the pull of a distance as strong as that of the cost to go.
STEPS_PER_UNIT = 20.0
DIFFUSED = {"controller": "diffused"}
GUIDED = COST_TO_GO | {"horizon": COST_TO_GO_HORIZON}
# Idea -> what it changes in ``GUIDED``.
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
# Guided by one candidate, where futures and scales are varied.
ONE = GUIDED | {"candidates": 1}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison; each future and candidate costs a pass through the network and back in every row.

    Attributes:
        mazes: of the shipped checkpoints.
        episodes: of each row.
        ideas: names in ``IDEAS``.
        futures: N of Monte-Carlo guidance, and the denoising steps of each future.
        scales: of guidance.
        repeats: of the gradient whose variance is measured.
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
The shipped checkpoints with the goal token masked at the last level. *The preset* is the agent `planner` of
`dfplan-bench`: guidance along the cost to go that the recording knows, a row's shift at most one standard deviation of
the data, a zig-zag of five steps per token, plans of {COST_TO_GO_HORIZON} steps made anew every 10 steps, and of four
candidates the one that has least to go. Every other row changes what it says and nothing else, but for
`planner-goal-token`, which is that agent of `dfplan-bench`: it plans as far as it can, in three steps of all tokens
together, one candidate. Rows of one maze have the same starts. The tables of scales and of futures have one candidate.

N futures: the gradient for the tokens about to be committed is the mean over N independently drawn futures; with 2
steps each future is denoised once more before it is scored (`futures` shows a world in which that decides).

The last table measures the gradient itself, half-way down the schedule from one start: the variance of its committed
part over repeated draws; times N it is constant if it falls like 1/N.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each idea, scale and number of futures on each maze, and the variance of the gradient."""
    tables: dict[str, list[Row]] = {}
    for maze in settings.mazes:
        title = f"maze2d-{maze}"
        tables[f"{title}, ideas"] = [
            {"idea": idea} | _scores(maze, idea, GUIDED | IDEAS[idea], settings, run) for idea in settings.ideas
        ]
        tables[f"{title}, scales"] = [
            {"scale": scale} | _scores(maze, f"scale {scale}", ONE | {"guidance_scale": scale}, settings, run)
            for scale in settings.scales
        ]
        tables[f"{title}, futures"] = [_futures_row(maze, *futures, settings, run) for futures in settings.futures]
    variances = {maze: _variances(maze, settings, run) for maze in settings.mazes}
    tables["Variance of the gradient"] = [row for rows in variances.values() for row in rows]
    return Findings(tables, _figures(tables, variances, settings), EXPLANATION)


def _figures(tables: dict[str, list[Row]], variances: dict[str, list[Row]], settings: Settings) -> dict:
    """Return the ideas' scores as dots, and scores over scales and variances over futures as lines."""
    titles = {f"maze2d-{maze}": maze for maze in settings.mazes}
    ideas = {title: {row["idea"]: row["normalized"] for row in tables[f"{title}, ideas"]} for title in titles}
    scales = {
        title: {"normalized": {row["scale"]: row["normalized"] for row in tables[f"{title}, scales"]}}
        for title in titles
    }
    falls = {maze: {"variance": {row["N"]: row["variance"] for row in rows}} for maze, rows in variances.items()}
    return {
        "ideas": dots(ideas, "normalized"),
        "scales": lines(scales, "guidance scale", "normalized", log_x=True),
        "variance": lines(falls, "futures N", "variance of the gradient", log_x=True),
    }


def _futures_row(maze: str, number: int, steps: int, settings: Settings, run: Run) -> Row:
    own = ONE | {"num_futures": number, "future_steps": steps}
    return {"N": number, "future steps": steps} | _scores(maze, f"N = {number}, {steps} steps", own, settings, run)


def _scores(maze: str, label: str, own: dict[str, Any], settings: Settings, run: Run) -> Row:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **own)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    return score_row(evaluate(agent, conditions, f"{maze}, {label}", timed=False))


def _variances(maze: str, settings: Settings, run: Run) -> list[Row]:
    """Return the variance of the committed tokens' gradient over repeated draws of N futures, half-way down."""
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **ONE)
    observation, goal = first_observation(agent, Conditions(f"maze2d-{maze}-v1", 1, run.seed))
    tokens, levels = _half_way(agent, observation, run.seed)
    model = agent.model
    goals = torch.tensor(goal[None], dtype=torch.float32, device=tokens.device).expand(settings.repeats, -1)
    guide = make_guide("cost_to_go", model, goals)
    tokens = tokens.expand(settings.repeats, -1, -1).clone().requires_grad_()
    committed = about_to_be_committed(levels, model.config.num_levels)
    x0, rows = predict(model, tokens, levels)[0], []
    for futures in dict.fromkeys(number for number, _ in settings.futures if number > 1):  # one is the sequence itself
        generators = [torch.Generator().manual_seed(run.seed + repeat) for repeat in range(settings.repeats)]
        guidance = Guidance(guide, num_futures=futures)
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
