"""Runs the studies that score agents in a maze with very small budgets."""

from dataclasses import fields, replace

import pytest
import torch
from matplotlib.figure import Figure

from dfplan.agents import planner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.presets import COST_TO_GO
from dfplan.benchmarks import (
    combined_guides,
    decisions,
    likelihood_bound,
    monte_carlo_guidance,
    networks,
    own_actions,
    policy_vs_planner,
    schemes,
    table1,
    uncertainty,
)
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.ablation import Run, format_markdown_table
from dfplan.data.recording import Recording
from dfplan.data.segments import fit_cost_to_go
from dfplan.envs.demonstrations import generate
from dfplan.envs.layouts import parse_maze_name
from dfplan.recipes import RECIPES
from dfplan.training.checkpoint import find_checkpoint, load_checkpoint

STUDIES = {
    policy_vs_planner: policy_vs_planner.Settings(mazes=("umaze",), episodes=2, lookaheads=(1,)),
    uncertainty: uncertainty.Settings(
        ("umaze",), episodes=2, guided_episodes=1, schedules=("pyramid 0.3", "trapezoid 1")
    ),
    monte_carlo_guidance: monte_carlo_guidance.Settings(
        ("umaze",), 1, ideas=("1 candidate",), futures=((2, 1), (3, 1)), scales=(0.1,), repeats=3
    ),
    schemes: schemes.Settings(
        ("umaze",),
        episodes=2,
        updates=(1,),
        ways=("policy", "diffuser"),
        schemes=("teacher forcing",),
        training_seeds=(0, 1),
        rows=3000,
    ),
    own_actions: own_actions.Settings(("umaze",), episodes=2, contenders=("Diffuser",)),
    networks: networks.Settings(
        "umaze",
        episodes=2,
        updates=1,
        networks=("RNN",),
        ways=("policy", "planner with history"),
        training_seeds=(0, 1),
        rows=3000,
    ),
    decisions: decisions.Settings(
        mazes=("umaze",),
        episodes=2,
        trained_maze="umaze",
        updates=1,
        rows=3000,
        ideas=("planner-goal-token", "second-order solver"),
        training_ideas=(decisions.RECORDED_RECIPE, "20 steps in a token"),
        trained_episodes=1,
        training_seeds=(0, 1),
    ),
    combined_guides: combined_guides.Settings(episodes=2, num_steps=3, guides=tuple(combined_guides.GUIDES)[:2]),
    table1: table1.Settings(("umaze",), episodes=2, agents=("policy, re-executed, pursuit", "random")),
}


def knowing(path, device="cpu"):
    """Load a checkpoint; if it has no cost to go, add the one of a small recording of its maze."""
    model, info = load_checkpoint(path, device)
    if model.cost_to_go is None:
        recording = generate(parse_maze_name(info["env_id"]), rows=3000, seed=0)
        model.cost_to_go = fit_cost_to_go(Recording.from_rows(recording), model.config.task)
    return model, info


@pytest.mark.parametrize(("module", "settings"), STUDIES.items(), ids=[module.__name__ for module in STUDIES])
def test_every_study_returns_scores_with_intervals_and_episodes_and_figures(module, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "load_checkpoint", knowing)
    devices = set()
    monkeypatch.setattr(planner, "find_device", lambda name: devices.add(name) or torch.device("cpu"))
    for guided in (COST_TO_GO, monte_carlo_guidance.ONE, uncertainty.GUIDED):  # few and cheap plans
        monkeypatch.setitem(guided, "sampling_steps", 2)
        monkeypatch.setitem(guided, "open_loop_horizon", 100)
    monkeypatch.setitem(policy_vs_planner.WAYS["guided"], "sampling_steps", 2)
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)  # one decision; timing has its own tests
    findings = module.study(settings, Run(seed=1, device="cpu", output=tmp_path))
    assert devices <= {"cpu"}, "every network is loaded on the run's device, not on the one that auto finds"
    for rows in findings.tables.values():
        assert any(isinstance(value, Estimate) for row in rows for value in row.values())
        assert format_markdown_table(rows).count("\n") == len(rows) + 1
        assert all("episodes" in row for row in rows if "normalized" in row)
    assert findings.figures and all(isinstance(figure, Figure) for figure in findings.figures.values())
    assert findings.explanation


def test_an_idea_for_training_changes_the_recipe_of_the_maze_and_nothing_else():
    settings = decisions.Settings((), 1, trained_maze="medium", updates=7)
    recipes = {idea: decisions._make_recipe(idea, settings) for idea in decisions.TRAINING_IDEAS}
    own = recipes[decisions.OWN_RECIPE]
    assert own.model == RECIPES["medium"].model and (own.training.steps, own.training.precision) == (7, "bfloat16")
    assert recipes["min-SNR loss weight"].training == replace(own.training, loss_weight="min_snr")
    assert recipes[decisions.RECORDED_RECIPE].training.demonstrations == "recorded"
    horizons = {recipe.model.horizon for idea, recipe in recipes.items() if idea != decisions.RECORDED_RECIPE}
    assert horizons == {own.model.horizon}


def test_every_idea_for_guidance_is_a_change_of_the_preset():
    preset = PlannerConfig(**COST_TO_GO)
    configs = {idea: PlannerConfig(**(COST_TO_GO | changed)) for idea, changed in monte_carlo_guidance.IDEAS.items()}
    assert configs.pop(monte_carlo_guidance.PRESET) == preset and preset not in configs.values()


def test_the_paper_table_has_the_limit_first_and_quoted_rows_marked():
    rows = [table1._make_limit_row("umaze", "fixed"), *table1._make_quoted_rows("umaze", "fixed")]
    assert rows[0]["method"] == "kinematic limit"
    assert all("quoted" in row["source"] for row in rows[1:])
    veteran = next(row for row in rows if row["method"] == "Diffusion Veteran")
    assert veteran["normalized_if_stay"] == 136.6 and "normalized" not in veteran


def test_the_paper_table_has_the_planner_on_both_kinds_of_data_with_own_actions_and_with_pursuit(tmp_path):
    planners = [label for label, contender in table1.RUN_HERE.items() if contender.agent == "planner-goal-token"]
    settings = table1.Settings(("umaze",), episodes=1, agents=(*planners, "Diffuser, PD controller", "random"))
    run = Run(seed=1, device="cpu", output=tmp_path)
    rows = [table1._measure_row("umaze", "random", label, settings, run) for label in settings.agents]
    columns = ("trained on", "driven by", "plans", "updates", "episodes")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("re-executed demonstrations", "pursuit", "1 of longest, every 10", 8000, 1),
        ("re-executed demonstrations", "own actions", "1 of longest, every 10", 8000, 1),
        ("recorded demonstrations", "pursuit", "1 of longest, every 20", 4000, 1),
        ("recorded demonstrations", "own actions", "1 of longest, every 20", 4000, 1),
        ("recorded demonstrations", "PD controller", "1 of longest, once", 2000, 1),
        ("-", "-", "-", "-", 1),
    ]


@pytest.mark.parametrize("goal", ["fixed", "random"])
def test_every_quoted_row_says_what_it_was_trained_on_and_driven_by(goal):
    rows = {row["method"].removesuffix(" (Multi2D)"): row for row in table1._make_quoted_rows("large", goal)}
    assert all(row["trained on"] in ("D4RL's recording", "as published") for row in rows.values())
    assert rows["Diffuser, PD controller"]["driven by"] == "PD controller"
    assert rows["Diffuser, its own actions"]["driven by"] == "own actions"
    assert rows["Diffusion Forcing with MCG"]["driven by"] == "own actions"
    assert rows["SSD"]["driven by"] == "as published"
    assert rows["HorizonFlow"]["normalized"] == {"fixed": 205.2, "random": 216.5}[goal]


def test_every_agent_of_the_paper_table_has_the_same_episodes():
    assert [field.name for field in fields(table1.Settings) if "episodes" in field.name] == ["episodes"]


def test_every_checkpoint_that_a_full_study_loads_ships():
    modules = (policy_vs_planner, decisions, table1, uncertainty, monte_carlo_guidance)
    names = {f"maze2d-{maze}" for module in modules for maze in module.FULL.mazes}
    names |= {f"maze2d-{maze}-recorded" for maze in decisions.FULL.mazes}
    names |= {f"maze2d-{maze}{suffix}" for maze in table1.FULL.mazes for suffix in ("-full_sequence", "-recorded")}
    names |= set(likelihood_bound.FULL.checkpoints)
    tracked = {suffix for suffix, _ in own_actions.CONTENDERS.values()}
    names |= {f"maze2d-{maze}{suffix}" for maze in own_actions.FULL.mazes for suffix in tracked}
    assert all(find_checkpoint(name).is_file() for name in names)
