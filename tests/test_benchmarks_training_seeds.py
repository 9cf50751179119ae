"""Tests on which seeds the networks of studies depend."""

import pytest

from dfplan.benchmarks import composition, decisions, likelihood_bound, long_rollouts, memory, networks, small_models
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Run

CHECKPOINT = ("maze2d-umaze",)
IDEA = (decisions.OWN_RECIPE,)
STUDIES = {
    networks: networks.Settings("umaze", 1, updates=1, networks=("RNN",), ways=("policy",), rows=3000),
    composition: composition.Settings(steps=1, rollouts=2, crossings=4),
    memory: memory.Settings(2, training_steps=1, episodes=1, histories=(0,)),
    decisions: decisions.Settings((), 1, trained_maze="umaze", updates=1, rows=3000, training_ideas=IDEA),
    likelihood_bound: likelihood_bound.Settings(1, 2, 1, 1, checkpoints=CHECKPOINT),
    long_rollouts: long_rollouts.Settings(rows=3000, steps=1, roll_outs=2, small_levels=(0.0,), errors=(0.5,)),
}


class Trained(Exception):
    """Raised instead of training the first network, to end the study."""


@pytest.mark.parametrize(("module", "settings"), STUDIES.items(), ids=[module.__name__ for module in STUDIES])
def test_the_seed_of_the_evaluation_decides_neither_data_nor_training(module, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path))
    monkeypatch.setattr(likelihood_bound, "GAUSSIAN_ROWS", 500)
    asked = []

    def train_small_model(recipe, dataset, run, name):
        asked.append((recipe, dataset["observations"].tobytes(), dataset["actions"].tobytes()))
        raise Trained

    for place in (module, small_models):
        monkeypatch.setattr(place, "train_small_model", train_small_model, raising=False)
    for seed in (3, 1000):
        with pytest.raises(Trained):
            module.study(settings, Run(seed, "cpu", tmp_path))
    assert asked[0] == asked[1] and asked[0][0].training.seed == TRAINING_SEEDS[0]
