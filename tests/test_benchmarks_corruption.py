import numpy as np
import pytest

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks import corruption, memory
from dfplan.benchmarks.corruption import (
    CONTENDERS,
    MISSING,
    CorruptedAgent,
    Corruption,
    Settings,
    find_noise_level,
    study,
)
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.episodes import Agent, Conditions, Evaluation, evaluate
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.config import ModelConfig
from dfplan.envs.scores import score_episodes
from dfplan.ground.errors import InputError

TINY = ModelConfig(num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2)


class Witness:
    """Never moves; records the observations and the levels that it gets."""

    def __init__(self, model):
        self.model, self.task, self.plan_seconds = model, model.config.task, [0.5]
        self.seen, self.levels = [], []

    def reset(self, goal=None, seed=None, num_steps=None):
        self.seen, self.levels = [], []

    def act(self, obs, observation_level=None):
        self.seen.append(obs)
        self.levels.append(observation_level)
        return np.zeros((len(obs), 2), dtype=np.float32)


def watched(model, std, told=True, seed=(7, 8), states=None):
    """Return the observations (step, batch, channel) and the levels of a witness in six steps, in blocks of two."""
    agent = CorruptedAgent(Witness(model), Corruption(std, block=2), told)
    agent.reset(goal=np.ones((len(seed), 2)), seed=list(seed), num_steps=6)
    states = np.arange(6.0)[:, None, None] * np.ones((len(seed), 4)) if states is None else states
    for observations in states:
        agent.act(observations)
    return np.stack(agent.agent.seen), agent.agent.levels


@pytest.mark.parametrize("seed", range(5))
def test_after_a_clean_block_one_of_every_two_is_corrupted(seed):
    corrupted = Corruption(1.0, block=3).draw_blocks(15, np.random.default_rng(seed)).reshape(5, 3)
    assert (corrupted == corrupted[:, :1]).all()
    assert not corrupted[0].any() and corrupted[1, 0] != corrupted[2, 0] and corrupted[3, 0] != corrupted[4, 0]


def test_an_episode_need_not_end_with_a_whole_block():
    assert Corruption(1.0, block=4).draw_blocks(10, np.random.default_rng(0)).shape == (10,)


def test_corrupted_steps_differ_between_batches():
    corruption = Corruption(1.0, block=1)
    blocks = [corruption.draw_blocks(100, np.random.default_rng(seed)) for seed in (1, 2)]
    assert not np.array_equal(*blocks)


def test_the_level_of_a_clean_observation_is_0_and_that_of_a_missing_one_is_the_last(tiny_model):
    assert find_noise_level(tiny_model, 0.0) == 0
    assert find_noise_level(tiny_model, MISSING) == 1


@pytest.mark.parametrize("std", [0.01, 0.3, 1.0, 3.0])
def test_the_level_is_the_lowest_one_with_at_least_the_observations_ratio_of_noise_to_signal(tiny_model, std):
    level = round(find_noise_level(tiny_model, std) * tiny_model.config.num_levels)
    ratio = ((1 - tiny_model.alpha_bar) / tiny_model.alpha_bar).double()
    assert ratio[level] >= std**2 > ratio[level - 1]


def test_only_corrupted_observations_are_noisy_and_have_a_level(tiny_model):
    seen, levels = watched(tiny_model, std=0.5)
    noisy = (seen != np.arange(6.0)[:, None, None]).all(axis=(1, 2))
    assert not noisy[:2].any() and noisy.sum() == 2
    assert [level is not None for level in levels] == noisy.tolist()
    assert {level for level in levels if level is not None} == {find_noise_level(tiny_model, 0.5)}


def test_noise_has_the_given_multiple_of_the_datas_standard_deviation(tiny_model):
    agent = CorruptedAgent(Witness(tiny_model), Corruption(0.5, block=200), told=False)
    agent.reset(goal=np.ones((20, 2)), seed=list(range(20)), num_steps=600)
    for _ in range(600):
        agent.act(np.zeros((20, 4)))
    seen = np.stack(agent.agent.seen)
    noise = seen[(seen != 0).all(axis=(1, 2))]  # (200, 20, 4)
    np.testing.assert_allclose(noise.std(axis=(0, 1)) / tiny_model.codec.std[:4].numpy(), 0.5, rtol=0.05)


def test_missing_observations_are_replaced_by_the_last_clean_one(tiny_model):
    seen, levels = watched(tiny_model, std=MISSING)
    missing = [step for step, level in enumerate(levels) if level == 1]
    assert len(missing) == 2 and (seen[missing] == missing[0] - 1).all()


def test_a_believing_agent_gets_the_same_observations_without_levels(tiny_model):
    told, _ = watched(tiny_model, std=0.5)
    believed, levels = watched(tiny_model, std=0.5, told=False)
    np.testing.assert_array_equal(told, believed)
    assert levels == [None] * 6


def test_the_noise_of_an_episode_does_not_depend_on_the_others(tiny_model):
    pair, _ = watched(tiny_model, std=0.5, seed=(7, 8))
    alone, _ = watched(tiny_model, std=0.5, seed=(7,))
    np.testing.assert_array_equal(pair[:, :1], alone)
    assert not np.array_equal(pair[:, 0], pair[:, 1])


def test_a_corrupted_agent_is_an_agent_and_its_plans_are_timed(tiny_model, monkeypatch):
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)
    agent = CorruptedAgent(Witness(tiny_model), Corruption(1.0, block=20), told=True)
    assert isinstance(agent, Agent)
    result = evaluate(agent, Conditions("maze2d-umaze-v1", episodes=2))
    assert result.rewards.shape == (2, 300) and result.plan_seconds.tolist() == [0.5]


def test_an_episode_of_unknown_length_cannot_be_corrupted(tiny_model):
    with pytest.raises(InputError, match="num_steps"):
        CorruptedAgent(Witness(tiny_model), Corruption(1.0, block=20), told=True).reset(goal=np.ones((1, 2)), seed=[0])


def test_a_study_has_each_contender_under_each_corruption_and_a_figure_of_both_parts(tiny_model, tmp_path, monkeypatch):
    seen, rewards, seconds = [], np.zeros((2, 300)), np.array([0.1, 0.2])
    conditions = Conditions("maze2d-umaze-v1", episodes=2, seed=4, side_by_side=10)
    scores = score_episodes("umaze", rewards)
    result = Evaluation(conditions, np.ones((2, 2)), np.ones((2, 301, 2)), rewards, scores, seconds, seconds)

    def judged(agent, given, label, timed):
        assert given == conditions and not timed
        seen.append(agent)
        return result

    monkeypatch.setattr(corruption, "evaluate", judged)
    monkeypatch.setattr(
        corruption.DFPlanner, "load", lambda name, device, **own: DFPlanner(tiny_model, PlannerConfig(**own))
    )
    recall = memory.Settings(2, training_steps=1, episodes=1, histories=(0,), model=TINY)
    settings = Settings((("umaze", "pd"),), 2, (0.5, MISSING), recall, history=2)
    findings = study(settings, Run(4, "cpu", tmp_path))

    corrupted, recalled = findings.tables.values()
    cases = [("clean", "believing"), ("clean", "believing, history")]
    cases += [(kind, name) for kind in ("noise 0.5", "missing") for name in CONTENDERS]
    assert [(row["observations"], row["agent"]) for row in corrupted] == cases
    assert all(isinstance(agent, DFPlanner) for agent in seen[:2])
    assert [agent.told for agent in seen[2:]] == 2 * [False, False, True, True]
    assert [agent.agent.config.observation.history for agent in seen[2:]] == 4 * [0, 2]
    assert [agent.corruption.std for agent in seen[2:]] == 4 * [0.5] + 4 * [MISSING]
    assert [row["agent"] for row in recalled] == list(recall.contenders)
    assert set(findings.figures) == {"corruption", "memory"}
