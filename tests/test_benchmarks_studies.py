"""The ablations that score agents in a maze, each run with very little of everything."""

from dataclasses import fields, replace

import pytest
from matplotlib.figure import Figure

from dfplan.agents import planner
from dfplan.agents.config import PlannerConfig
from dfplan.agents.presets import COST_TO_GO
from dfplan.benchmarks import (
    backbones,
    controllers,
    decisions,
    evaluation,
    guidance,
    guides,
    likelihood,
    policy_vs_planner,
    schedules,
    schemes,
    table1,
)
from dfplan.benchmarks.ablation import Run, markdown_table
from dfplan.benchmarks.statistics import Estimate
from dfplan.checkpoint import find_checkpoint, load_checkpoint
from dfplan.config import RECIPES
from dfplan.data import recorded_cost_to_go
from dfplan.envs.demonstrations import generate
from dfplan.envs.layouts import maze_name

STUDIES = {
    policy_vs_planner: policy_vs_planner.Settings(mazes=("umaze",), episodes=2, lookaheads=(1,)),
    schedules: schedules.Settings(("umaze",), episodes=2, guided_episodes=1, schedules=("pyramid 0.3", "trapezoid 1")),
    guidance: guidance.Settings(
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
    controllers: controllers.Settings(("umaze",), episodes=2, contenders=("Diffuser",)),
    backbones: backbones.Settings(
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
    guides: guides.Settings(episodes=2, num_steps=3, guides=tuple(guides.GUIDES)[:2]),
    table1: table1.Settings(("umaze",), episodes=2, agents=("policy, re-executed, pursuit", "random")),
}


def knowing(path, device="cpu"):
    """Load a checkpoint; if it holds no cost to go, give it that of a small recording of its maze."""
    model, info = load_checkpoint(path, device)
    if model.cost_to_go is None:
        recording = generate(maze_name(info["env_id"]), rows=3000, seed=0)
        model.cost_to_go = recorded_cost_to_go(recording, model.config.goal_dim)
    return model, info


@pytest.mark.parametrize(("module", "settings"), STUDIES.items(), ids=[module.__name__ for module in STUDIES])
def test_every_study_finds_scores_with_intervals_and_episodes_and_draws_them(module, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "load_checkpoint", knowing)
    for guided in (COST_TO_GO, guidance.ONE, schedules.GUIDED):  # few and cheap plans
        monkeypatch.setitem(guided, "sampling_steps", 2)
        monkeypatch.setitem(guided, "open_loop_horizon", 100)
    monkeypatch.setitem(policy_vs_planner.WAYS["guided"], "sampling_steps", 2)
    monkeypatch.setattr(evaluation, "LATENCY_SECONDS", 1e-9)  # one decision; timing has its own tests
    findings = module.study(settings, Run(seed=1, device="cpu", output=tmp_path))
    for rows in findings.tables.values():
        assert any(isinstance(value, Estimate) for row in rows for value in row.values())
        assert markdown_table(rows).count("\n") == len(rows) + 1
        assert all("episodes" in row for row in rows if "normalized" in row)
    assert findings.figures and all(isinstance(figure, Figure) for figure in findings.figures.values())
    assert findings.explanation


def test_an_idea_for_training_changes_the_recipe_of_the_maze_and_nothing_else():
    settings = decisions.Settings((), 1, trained_maze="medium", updates=7)
    recipes = {idea: decisions._recipe(idea, settings) for idea in decisions.TRAINING_IDEAS}
    own = recipes[decisions.OWN_RECIPE]
    assert own.model == RECIPES["medium"].model and (own.training.steps, own.training.precision) == (7, "bfloat16")
    assert recipes["min-SNR loss weight"].training == replace(own.training, loss_weight="min_snr")
    assert recipes[decisions.RECORDED_RECIPE].training.demonstrations == "recorded"
    horizons = {recipe.model.horizon for idea, recipe in recipes.items() if idea != decisions.RECORDED_RECIPE}
    assert horizons == {own.model.horizon}


def test_every_idea_for_guidance_is_a_change_of_the_preset():
    preset = PlannerConfig(**COST_TO_GO)
    configs = {idea: PlannerConfig(**(COST_TO_GO | changed)) for idea, changed in guidance.IDEAS.items()}
    assert configs.pop(guidance.PRESET) == preset and preset not in configs.values()


def test_the_paper_table_has_the_limit_first_and_quoted_rows_marked():
    rows = [table1._limit("umaze", "fixed"), *table1._quoted("umaze", "fixed")]
    assert rows[0]["method"] == "kinematic limit"
    assert all("quoted" in row["source"] for row in rows[1:])
    veteran = next(row for row in rows if row["method"] == "Diffusion Veteran")
    assert veteran["normalized_if_stay"] == 136.6 and "normalized" not in veteran


def test_the_paper_table_has_the_planner_on_both_data_by_own_actions_and_by_pursuit(tmp_path):
    planners = [label for label, contender in table1.RUN_HERE.items() if contender.agent == "planner-goal-token"]
    settings = table1.Settings(("umaze",), episodes=1, agents=(*planners, "Diffuser, PD controller", "random"))
    run = Run(seed=1, device="cpu", output=tmp_path)
    rows = [table1._row("umaze", "random", label, settings, run) for label in settings.agents]
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
    rows = {row["method"].removesuffix(" (Multi2D)"): row for row in table1._quoted("large", goal)}
    assert all(row["trained on"] in ("D4RL's recording", "as published") for row in rows.values())
    assert rows["Diffuser, PD controller"]["driven by"] == "PD controller"
    assert rows["Diffuser, its own actions"]["driven by"] == "own actions"
    assert rows["Diffusion Forcing with MCG"]["driven by"] == "own actions"
    assert rows["SSD"]["driven by"] == "as published"
    assert rows["HorizonFlow"]["normalized"] == {"fixed": 205.2, "random": 216.5}[goal]


def test_every_agent_of_the_paper_table_has_the_same_episodes():
    assert [field.name for field in fields(table1.Settings) if "episodes" in field.name] == ["episodes"]


def test_every_checkpoint_that_a_full_study_loads_ships():
    modules = (policy_vs_planner, decisions, table1, schedules, guidance)
    names = {f"maze2d-{maze}" for module in modules for maze in module.FULL.mazes}
    names |= {f"maze2d-{maze}-recorded" for maze in decisions.FULL.mazes}
    names |= {f"maze2d-{maze}{suffix}" for maze in table1.FULL.mazes for suffix in ("-full_sequence", "-recorded")}
    names |= set(likelihood.FULL.checkpoints)
    tracked = {suffix for suffix, _ in controllers.CONTENDERS.values()}
    names |= {f"maze2d-{maze}{suffix}" for maze in controllers.FULL.mazes for suffix in tracked}
    assert all(find_checkpoint(name).is_file() for name in names)
