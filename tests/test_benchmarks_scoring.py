import pytest

from dfplan.agents.presets import GOAL_TOKEN
from dfplan.benchmarks import scoring
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.benchmarks.scoring import score_checkpoint, score_trainings
from dfplan.config import Recipe, TrainingConfig


@pytest.fixture
def evaluated(monkeypatch):
    """The agents, conditions and labels that are evaluated; a row of scores is the number of its evaluations."""
    asked = []
    monkeypatch.setattr(
        scoring, "evaluate", lambda agent, conditions, label, timed: asked.append((agent, conditions, label))
    )
    monkeypatch.setattr(scoring, "make_score_row", lambda found: {"evaluations": found})
    return asked


def test_a_checkpoint_is_loaded_on_the_runs_device_and_acts_from_the_runs_seed(evaluated, monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(scoring.DFPlanner, "load", lambda name, device, **own: loaded.append((name, device, own)))
    score_checkpoint("maze2d-umaze", "umaze", {"candidates": 2}, 3, Run(7, "cuda:1", tmp_path), "a label")
    assert loaded == [("maze2d-umaze", "cuda:1", {"candidates": 2})]
    ((_, conditions, label),) = evaluated
    assert (conditions.env_id, conditions.episodes, conditions.seed, label) == ("maze2d-umaze-v1", 3, 7, "a label")


def test_each_training_seed_has_episodes_of_its_own(evaluated, tiny_model, tmp_path):
    recipe = Recipe("maze2d-medium-v1", tiny_model.config, TrainingConfig())
    row = score_trainings([tiny_model] * 2, recipe, GOAL_TOKEN, 3, Run(1000, "cpu", tmp_path), "a label")
    assert len(row["evaluations"]) == 2
    assert [(conditions.env_id, conditions.episodes, conditions.seed) for _, conditions, _ in evaluated] == [
        ("maze2d-medium-v1", 3, 1000),
        ("maze2d-medium-v1", 3, 1001),
    ]
    assert [label for _, _, label in evaluated] == ["a label, training 1 of 2", "a label, training 2 of 2"]
