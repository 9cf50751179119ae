"""The planner where observations are no positions and velocities in the plane: other sizes than those of the mazes."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.agents.presets import DIFFUSER
from dfplan.config import ModelConfig
from dfplan.data.trajectories import Statistics
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.task import Task

HORIZON = 8  # steps of the longest plan: four tokens of two steps


@dataclass(frozen=True)
class World:
    """Sizes, and what is seen and wanted in them; observations lie around 1 with a deviation of 2."""

    observation_dim: int
    action_dim: int
    goal_dim: int

    @property
    def goal(self):
        return np.linspace(2.0, 3.0, self.goal_dim)

    def path(self, steps=7, batch=3):
        """Return observations (step, batch, observation)."""
        return np.random.default_rng(0).normal(1.0, 2.0, (steps, batch, self.observation_dim))

    def model(self, **settings):
        config = ModelConfig(
            Task(self.observation_dim, self.action_dim, goal=tuple(range(self.goal_dim))),
            frame_stack=2,
            num_tokens=4,
            num_levels=100,
            width=16,
            depth=1,
            num_heads=2,
        )
        sizes = (self.observation_dim, self.action_dim, 1)
        statistics = Statistics(
            np.repeat([1.0, 0.0, 0.5], sizes).astype(np.float32), np.repeat([2.0, 1.0, 0.5], sizes).astype(np.float32)
        )
        torch.manual_seed(0)
        return DiffusionForcing(replace(config, **settings), statistics).eval().requires_grad_(False)

    def agent(self, **settings):
        return DFPlanner(self.model(), PlannerConfig(**{"controller": "diffused", "open_loop_horizon": 3} | settings))


@pytest.fixture(params=[World(3, 1, 2), World(6, 3, 3)], ids=["observation 3, action 1", "observation 6, action 3"])
def world(request):
    return request.param


def test_plans_and_actions_have_the_sizes_of_the_model_alone_and_in_a_batch(world):
    agent, observations = world.agent(), world.path()[0]
    for given, batch in ((observations, (3,)), (observations[:1], (1,)), (observations[0], ())):
        agent.reset(goal=world.goal, seed=0)
        plan = agent.plan(given, keep_rows=True)
        assert plan.observations.shape == (*batch, HORIZON, world.observation_dim)
        assert plan.actions.shape == (*batch, HORIZON, world.action_dim)
        assert plan.rewards.shape == (*batch, HORIZON) and plan.start.shape == (*batch, world.observation_dim)
        assert plan.rows[0][0].shape == plan.observations.shape
        np.testing.assert_allclose(plan.start, given, atol=1e-5)
        assert agent.act(given).shape == (*batch, world.action_dim)


def test_a_task_without_a_goal_ignores_the_goal_of_a_goal_environment():
    world = World(3, 1, 0)
    agent, observation = world.agent(), world.path()[0, 0]
    actions = []
    for given in (observation, {"observation": observation, "desired_goal": np.ones(2)}):
        agent.reset(seed=0)
        actions.append(agent.act(given))
    np.testing.assert_array_equal(*actions)


def test_the_plans_own_actions_are_executed_step_by_step(world):
    agent, path = world.agent(), world.path()[:, 0]
    agent.reset(goal=world.goal, seed=0)
    for first in (0, 3):
        planned = agent.plan(path[first]).actions
        acted = [agent.act(observation) for observation in path[first : first + 3]]
        np.testing.assert_array_equal(acted, np.clip(planned[:3], -1, 1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"history": 2},
        {"candidates": 2, "selection": "arrival"},
        {"guide": "goal_distance", "num_futures": 2, "schedule": "pyramid", "sampling_steps": 2, "history": 1},
    ],
)
def test_an_episode_is_the_same_alone_and_beside_others(world, settings):
    agent, path = world.agent(**settings), world.path()
    goals = world.goal + np.arange(3)[:, None]
    agent.reset(goal=goals, seed=[5, 6, 7])
    together = np.stack([agent.act(observations) for observations in path])
    agent.reset(goal=goals[1], seed=6)
    np.testing.assert_array_equal(together[:, 1], [agent.act(observations[1]) for observations in path])


@pytest.mark.parametrize("backbone", ["transformer", "rnn"])
def test_a_causal_model_plans_on_from_its_history_with_and_without_its_memory(world, backbone, monkeypatch):
    settings = PlannerConfig(controller="diffused", history=2, open_loop_horizon=2)
    agent = DFPlanner(world.model(causal=True, backbone=backbone), settings)
    acted = []
    for memory in (agent._memory, lambda *arguments: None):
        monkeypatch.setattr(agent, "_memory", memory)
        agent.reset(goal=world.goal, seed=0)
        acted.append([agent.act(observations) for observations in world.path()])
    np.testing.assert_allclose(*acted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("history", "heeded"), [(0, False), (2, True)])
def test_a_plan_heeds_the_executed_past_only_with_a_history(world, history, heeded):
    plans = []
    for direction in (1, -1):
        agent = world.agent(history=history)
        agent.reset(goal=world.goal, seed=0)
        for observations in world.path(steps=4):
            agent.act(direction * observations)
        agent._streams = [torch.Generator().manual_seed(episode) for episode in range(3)]
        plans.append(agent.plan(world.path()[0], horizon=4).observations)
    assert np.allclose(*plans) != heeded


def test_the_goal_guide_draws_plans_to_goals_of_any_size(world):
    distances = []
    for scale in (0.0, 5.0):
        agent = world.agent(guide="goal_distance", guidance_scale=scale, sampling_steps=10)
        agent.reset(goal=world.goal, seed=0)
        planned = agent.plan(world.path()[0]).observations[..., : world.goal_dim]
        distances.append(np.linalg.norm(planned - world.goal, axis=-1).mean())
    assert distances[1] < distances[0]


def test_a_guide_of_the_users_own_scores_plans_of_the_models_sizes(world):
    def last_action_upwards(plan):
        assert plan.observations.shape == (3, HORIZON, world.observation_dim) and plan.rewards.shape == (3, HORIZON)
        return plan.actions[..., -1].sum(dim=1)

    actions = []
    for scale in (0.0, 5.0):
        agent = world.agent(guide=last_action_upwards, guidance_scale=scale, sampling_steps=10)
        agent.reset(goal=world.goal, seed=0)
        actions.append(agent.plan(world.path()[0]).actions[..., -1].mean())
    assert actions[1] > actions[0]


def test_a_painted_in_goal_ends_the_plan_at_the_goal_and_says_nothing_of_other_channels(world):
    agent = world.agent(**DIFFUSER | {"controller": "diffused"})
    agent.reset(goal=world.goal, seed=0)
    end = agent.plan(world.path()[0]).observations[:, -2:]
    np.testing.assert_allclose(end[..., : world.goal_dim], np.tile(world.goal, (3, 2, 1)), atol=1e-5)
    assert (np.abs(end[..., world.goal_dim :]) > 1e-3).all()


def test_a_missing_observation_plays_no_part(world):
    agent, path = world.agent(history=1), world.path()
    actions = []
    for offset in (0.0, 3.0):
        agent.reset(goal=world.goal, seed=0)
        actions.append([agent.act(observations + offset, observation_level=1.0) for observations in path])
    np.testing.assert_array_equal(*actions)


def test_an_agent_is_saved_and_loaded(world, tmp_path):
    agent = world.agent()
    agent.save(tmp_path)
    loaded = DFPlanner.load(tmp_path, device="cpu", controller="diffused", open_loop_horizon=3)
    acted = []
    for one in (agent, loaded):
        one.reset(goal=world.goal, seed=0)
        acted.append([one.act(observations) for observations in world.path()])
    np.testing.assert_array_equal(*acted)


def test_other_sizes_than_the_models_are_answered_in_a_sentence(world):
    agent = world.agent()
    with pytest.raises(InputError, match=rf"expects goals of shape \({world.goal_dim},\)"):
        agent.reset(goal=np.zeros(world.observation_dim + 1))
    agent.reset(goal=world.goal)
    with pytest.raises(InputError, match=rf"expects observations of shape \({world.observation_dim},\)"):
        agent.act(np.zeros(4))
