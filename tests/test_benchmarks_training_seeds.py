"""What decides the networks that studies train."""

import pytest

from dfplan.benchmarks import backbones, composition, cue_maze, decisions, likelihood, rollout, small_models
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Run

CHECKPOINT = ("maze2d-umaze",)
IDEA = (decisions.OWN_RECIPE,)
STUDIES = {
    backbones: backbones.Settings("umaze", 1, updates=1, networks=("RNN",), ways=("policy",), rows=3000),
    composition: composition.Settings(steps=1, rollouts=2, crossings=4),
    cue_maze: cue_maze.Settings(2, training_steps=1, episodes=1, histories=(0,)),
    decisions: decisions.Settings((), 1, trained_maze="umaze", updates=1, rows=3000, training_ideas=IDEA),
    likelihood: likelihood.Settings(1, 2, 1, 1, checkpoints=CHECKPOINT),
    rollout: rollout.Settings(rows=3000, steps=1, roll_outs=2, small_levels=(0.0,), errors=(0.5,)),
}


class Trained(Exception):
    """Ends a study when its first network would be trained."""


@pytest.mark.parametrize(("module", "settings"), STUDIES.items(), ids=[module.__name__ for module in STUDIES])
def test_the_seed_of_the_evaluation_decides_neither_data_nor_training(module, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path))
    monkeypatch.setattr(likelihood, "GAUSSIAN_ROWS", 500)
    asked = []

    def small_model(recipe, dataset, run, name):
        asked.append((recipe, dataset["observations"].tobytes(), dataset["actions"].tobytes()))
        raise Trained

    for place in (module, small_models):
        monkeypatch.setattr(place, "small_model", small_model, raising=False)
    for seed in (3, 1000):
        with pytest.raises(Trained):
            module.study(settings, Run(seed, "cpu", tmp_path))
    assert asked[0] == asked[1] and asked[0][0].training.seed == TRAINING_SEEDS[0]
