import json

import numpy as np
import pytest

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.presets import PRESETS
from dfplan.benchmarks import speed, speed_scaling
from dfplan.benchmarks.evaluation import timing
from dfplan.benchmarks.evaluation.episodes import Evaluation
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.config import Recipe, TrainingConfig
from dfplan.training.checkpoint import find_checkpoint

SMALL = speed.Settings(("umaze",), 1, (1, 2), (1,), (1, 16), 1e-4, 50)
ONCE = {"sampling_steps": 1, "open_loop_horizon": None}
LATENCY = np.array([0.02, 0.03]), np.array([0.021, 0.001, 0.031, 0.001])  # of plans, of acts
GUIDED = ONCE | {"sampling_steps": 2, "guide": "goal_distance"}
AGENTS = {name: ONCE for name in (*PRESETS, "policy")} | {"guided": GUIDED}


def evaluated(agent, conditions, label, timed):
    """Return two episodes with the scores 100 and 200, without running them."""
    scores = {"return": [1.0, 2.0], "normalized": [100.0, 200.0], "normalized_if_stay": [100.0, 200.0]}
    scores |= {"success": [True, True], "first_reach": [5.0, 5.0]}
    arrays = {name: np.array(values) for name, values in scores.items()}
    nothing = np.empty(0)
    return Evaluation(conditions, np.zeros((2, 2)), np.zeros((2, 10, 2)), np.zeros((2, 9)), arrays, nothing, nothing)


@pytest.fixture
def findings(tiny_model, tiny_config, tiny_dataset, tmp_path, monkeypatch):
    """The findings of the study for a tiny model."""
    monkeypatch.setattr(timing, "PRODUCT_SIZES", {"cpu": (4,)})
    monkeypatch.setattr(speed, "evaluate", evaluated)
    monkeypatch.setattr(speed, "measure_latency", lambda *_: LATENCY)
    monkeypatch.setattr(speed, "AGENTS", AGENTS)
    monkeypatch.setattr(speed, "load_dataset", lambda maze, seed, **_: seed == TRAINING_SEEDS[0] and tiny_dataset)
    monkeypatch.setattr(speed, "RECIPES", {"umaze": Recipe("trial", tiny_config, TrainingConfig(batch_size=2))})
    monkeypatch.setattr(
        DFPlanner, "load", lambda name, device, **settings: DFPlanner(tiny_model, PlannerConfig(**settings))
    )
    return speed.study(SMALL, Run(seed=1, device="cpu", output=tmp_path))


def test_every_agent_and_batch_has_its_row(findings):
    tables = {title.split(": ")[-1]: rows for title, rows in findings.tables.items()}
    assert [row["products in"] for row in tables["Matrix products"]] == ["float32", "bfloat16"]
    assert [row["agent"] for row in tables["score and latency at batch 1"]] == list(AGENTS)
    batches = [(row["agent"], row["batch"]) for row in tables["decisions per second"]]
    assert batches == [(name, batch) for name in AGENTS for batch in ((1,) if AGENTS[name] is GUIDED else (1, 2))]
    assert [row["batch"] for row in tables["network passes"]] == [1, 16]
    assert len(tables["training"]) == 2
    for row in tables["score and latency at batch 1"]:
        assert row["normalized"].value == 150
        assert 0 < row["first plan: ms p50"] <= row["first plan: ms p95"]
        assert row["plans of an episode: ms p50"] == pytest.approx(25)
        assert row["act between plans: ms p95"] == pytest.approx(1)


def test_the_explanation_summarizes_the_tables_and_names_the_threads(findings):
    assert "maze2d-umaze: fast has" in findings.explanation and "from batch 16 on" in findings.explanation
    assert "threads of torch: 1" in findings.explanation


def test_acts_between_plans_are_all_acts_that_did_not_plan():
    assert (speed.select_acts_between_plans(np.array([0.5, 0.7]), np.array([0.6, 0.1, 0.2, 0.8])) == [0.1, 0.2]).all()


def test_the_figure_has_time_on_a_logarithmic_axis_and_names_mazes_and_agents():
    points = {
        "maze2d-large": {"fast": (2.0, Estimate(200.0, 190.0, 210.0)), "best": (200.0, Estimate(220.0, 210.0, 230.0))}
    }
    figure = speed.draw_score_against_time(points)
    assert figure.axes[0].get_xscale() == "log"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"maze2d-large", "fast", "best"}


def test_every_preset_and_checkpoint_that_the_full_study_uses_exists():
    assert PRESETS.keys() < speed.AGENTS.keys()
    assert all(PlannerConfig(**settings) for settings in speed.AGENTS.values())
    assert all(find_checkpoint(f"maze2d-{maze}").is_file() for maze in (*speed.FULL.mazes, speed_scaling.FULL.maze))


@pytest.mark.parametrize(("flags", "name", "seconds"), [((), "speed", 7.0), (("--scaling",), "speed_scaling", 9.0)])
def test_scaling_is_another_study_with_its_own_folder(flags, name, seconds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["speed", "--device", "cpu", *flags])

    def study(settings, run):
        return Findings({"Times": [{"seconds": settings.seconds}]}, {}, "Why.")

    full = speed.Settings(("umaze",), 1, seconds=7.0)
    variant = speed.Variant("scaling", "", study, speed_scaling.Settings("umaze", 9.0), None)
    main("speed", "", study, full, full, variant)
    contents = json.loads((tmp_path / "dfplan-bench" / f"{name}-cpu" / "results.json").read_text())
    assert contents["ablation"] == name and contents["tables"]["Times"] == [{"seconds": seconds}]
    assert contents["command"] == " ".join(["python -m dfplan.benchmarks.speed", *flags])
