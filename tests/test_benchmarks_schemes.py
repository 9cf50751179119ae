from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dfplan.benchmarks import schemes, scoring
from dfplan.benchmarks.evaluation.episodes import Evaluation
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.envs.scores import score_episodes
from dfplan.recipes import RECORDED_RECIPES

TINY = schemes.Settings(("umaze",), 3, updates=(7,), ways=("policy", "planner"), training_seeds=(0, 1), rows=3000)


NOTHING = np.empty(0)


@pytest.fixture
def found(monkeypatch, tmp_path, tiny_model):
    """The findings of the study with an untrained network, the trainings that it asks for, and its evaluations."""
    trained, asked = [], []

    def evaluate(agent, conditions, label, timed):
        asked.append(conditions)
        rewards = np.ones((3, 300))
        scores = score_episodes("umaze", rewards)
        return Evaluation(conditions, np.ones((3, 2)), np.ones((3, 301, 2)), rewards, scores, NOTHING, NOTHING)

    monkeypatch.setattr(
        schemes, "train_small_models", lambda *given: trained.append(given) or [tiny_model] * len(given[-1])
    )
    monkeypatch.setattr(scoring, "evaluate", evaluate)
    return schemes.study(TINY, Run(1000, "cpu", tmp_path)), trained, asked


def test_every_scheme_is_trained_from_every_training_seed_by_the_recipe_of_recorded_demonstrations(found):
    _, trained, _ = found
    assert [given[-1] for given in trained] == [(0, 1)] * len(schemes.SCHEMES)
    own = RECORDED_RECIPES["umaze"]
    same = {"steps": 7, "goal_known": 0.5, "rows": 3000, "precision": "float32"}
    for given, changed in zip(trained, schemes.SCHEMES.values(), strict=True):
        assert given[0] == replace(own, training=replace(own.training, **same, **changed))
        assert not given[0].model.causal


def test_networks_of_different_training_seeds_have_different_episodes_and_all_rows_share_them(found):
    findings, _, asked = found
    (rows,) = findings.tables.values()
    assert [(conditions.seed, conditions.episodes) for conditions in asked] == len(rows) * [(1000, 3), (1001, 3)]
    assert findings.trainings == 2 and all((row["trainings"], row["episodes"]) == (2, 6) for row in rows)
    assert [(row["trained by"], row["sampled by"]) for row in rows] == list(product(schemes.SCHEMES, TINY.ways))
