from dataclasses import replace

import numpy as np
from matplotlib.colors import to_rgb

from dfplan.benchmarks import memory
from dfplan.benchmarks.memory import Settings, draw_outcomes, study
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.benchmarks.reporting.charts import COLOURS
from dfplan.benchmarks.worlds.cue_maze import ENDS, STARTS, CueOutcome
from dfplan.config import ModelConfig

TINY = Settings(
    demonstrations=2,
    training_steps=2,
    episodes=2,
    histories=(0, 1),
    open_loop_horizon=20,
    model=ModelConfig(num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2),
)


def test_contenders_differ_only_in_their_history_and_one_plans_once():
    contenders = TINY.contenders
    assert {name: own["history"] for name, own in contenders.items()} == {
        "memoryless": 0,
        "10 steps of history": 1,
        "whole past": 3,
        "one plan": 0,
    }
    assert [own["open_loop_horizon"] for own in contenders.values()] == [20, 20, 20, None]


def test_a_study_trains_one_unconditional_model_for_all_contenders(tmp_path, monkeypatch):
    seen = []

    class Watched(memory.DFPlanner):
        def act(self, observation, observation_level=None):
            actions = super().act(observation, observation_level)
            seen.append((self.model, self._episodes.goals, self.config.guidance.goal_token))
            return actions

    monkeypatch.setattr(memory, "DFPlanner", Watched)
    recalls = study(TINY, Run(0, "cpu", tmp_path))
    assert list(recalls) == list(TINY.contenders)
    assert all(found.paths.shape == (2, 81, 2) for found in recalls.values())
    assert len({id(model) for model, _, _ in seen}) == 1
    assert {(goal, token) for _, goal, token in seen} == {(None, False)}


def test_the_figure_shows_each_path_until_its_arrival_in_the_colour_of_its_cue():
    paths = np.array([[STARTS[0], ENDS[0], (3.0, 2.0)], [STARTS[1], (3.0, 2.0), (3.0, 2.0)]])
    found = CueOutcome.from_paths(np.array([0, 1]), paths)
    figure = draw_outcomes({"a": found, "b": replace(found)})
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["a", "b"]
    drawn = figure.axes[0].collections
    assert [len(lines.get_segments()) for lines in drawn] == [1, 2]
    for lines, colour in zip(drawn, COLOURS):
        lines.update_scalarmappable()
        np.testing.assert_allclose(lines.get_colors()[0, :3], to_rgb(colour))
