"""The way from an observation to the network is short, and can be read from top to bottom."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.model.diffusion_forcing import DiffusionForcing

ROOT = Path(__file__).resolve().parent.parent
MOST_CALLS = 5  # from ``act`` to the network's ``forward``
WAYS = {
    "told the goal": {},
    "with a goal strength": {"goal_strength": 1.5},
    "guided": {"guide": "goal_distance"},
    "guided by futures": {"guide": "goal_distance", "num_futures": 2},
    "guided by denoised futures": {"guide": "goal_distance", "num_futures": 2, "future_steps": 2},
    "several candidates": {"candidates": 2},
    "with a history": {"history": 2, "open_loop_horizon": 2},
    "warm": {"warm_start": 0.5, "open_loop_horizon": 2},
    "policy": {"mode": "policy", "sampling_steps": 1},
}


def calls_to_the_network(agent, steps=5):
    """For each time that the network is run: the functions of ours from ``act`` to ``forward``."""
    ways = []

    def watch(module, arguments):
        frame, names = sys._getframe(1), ["forward"]
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and "tests" not in path.parts:
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        ways.append(names[::-1])

    hook = agent.model.backbone.register_forward_pre_hook(watch)
    for step in range(steps):
        agent.act(np.full(4, 0.1 * step))
    hook.remove()
    return ways


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_from_act_to_the_network_there_are_at_most_five_calls(tiny_config, way, causal):
    torch.manual_seed(0)
    model = DiffusionForcing(replace(tiny_config, causal=causal)).eval().requires_grad_(False)
    agent = DFPlanner(model, PlannerConfig(**WAYS[way]))
    agent.reset(goal=[1.0, 1.0], seed=0)
    ways = calls_to_the_network(agent)
    assert ways
    for names in ways:
        assert names[:2] == ["act", "make_plans"] and names[-1] == "forward"
        assert len(names) - 1 <= MOST_CALLS, " -> ".join(names)
    assert ["act", "make_plans", "sample", "predict", "forward"] in ways


def test_the_planner_is_not_entered_again_on_the_way_to_the_network(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(guide="goal_distance", num_futures=2))
    agent.reset(goal=[1.0, 1.0], seed=0)
    files = []

    def watch(module, arguments):
        frame = sys._getframe(1)
        while frame is not None:
            files.append(Path(frame.f_code.co_filename).name)
            frame = frame.f_back
        files.append(None)

    agent.model.backbone.register_forward_pre_hook(watch)
    agent.act(np.zeros(4))
    runs = files.count(None)
    assert runs > 1 and files.count("planner.py") == runs
