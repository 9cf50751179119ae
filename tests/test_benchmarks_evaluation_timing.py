import time

import numpy as np
import pytest
import torch

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks.evaluation import timing
from dfplan.benchmarks.evaluation.episodes import Conditions
from dfplan.benchmarks.evaluation.timing import (
    Machine,
    compare_with_products,
    count_operations,
    make_plan_timer,
    measure_machine,
    time_repeatedly,
)

CPU = torch.device("cpu")


def test_calls_are_repeated_after_a_warm_up_until_the_seconds_are_spent():
    calls = []
    seconds = time_repeatedly(lambda: calls.append(1) or 0.25, budget=2.5)
    assert len(seconds) == 10 and (seconds == 0.25).all()
    assert len(calls) == 10 + 2  # a fifth of the 2.5 s beforehand


def test_a_slow_call_is_repeated_three_times_and_a_fast_one_at_most_400_times():
    assert len(time_repeatedly(lambda: 100.0, budget=1.0)) == timing.FEWEST_CALLS
    assert len(time_repeatedly(lambda: 1e-3, budget=10.0)) == timing.MOST_CALLS


def test_a_wall_time_includes_the_time_that_the_call_waits():
    assert 0.01 <= timing.measure_seconds(lambda: time.sleep(0.01), CPU) < 1


def test_a_product_takes_two_operations_for_each_multiply_add():
    assert count_operations(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
    forward = 2 * 10 * (4 * 8 + 8 * 2)
    assert count_operations(lambda: network(torch.ones(10, 4))) == forward
    # Backward: one product for the weights of each layer, and one for the input of the second.
    assert count_operations(lambda: network(torch.ones(10, 4)).sum().backward()) == 2 * forward + 2 * 10 * 8 * 2


@pytest.mark.parametrize("inference", [False, True])
def test_the_operations_of_a_transformer_pass_equal_those_counted_by_hand(tiny_model, tiny_config, inference):
    batch, time, width, channels = 8, 6, tiny_config.width, tiny_config.token_dim
    per_token = 2 * channels * width + 2 * width**2 + tiny_config.depth * (4 + 8) * width**2
    attention = tiny_config.depth * 2 * time * time * width
    noisy, levels = torch.zeros(batch, time, channels), torch.zeros(batch, time, dtype=torch.long)
    with torch.inference_mode(inference):
        counted = count_operations(lambda: tiny_model.predict_x0(noisy, levels))
    assert counted == 2 * batch * (time * per_token + attention)


def test_a_share_is_relative_to_the_best_rate_in_the_same_precision():
    machine = Machine(CPU, "abacus", 2, {"float32": {8: 50.0, 16: 100.0}, "bfloat16": {8: 400.0}})
    assert machine.compute_share(60.0) == 0.6 and machine.compute_share(100.0, "bfloat16") == 0.25
    assert [row["products in"] for row in machine.to_rows(1.5)] == ["float32", "bfloat16"]
    assert "abacus" in str(machine) and "threads of torch: 2" in str(machine)


def test_a_share_is_relative_to_the_best_product_measured_alternately(monkeypatch):
    calls = []
    monkeypatch.setattr(timing, "measure_seconds", lambda call, device: calls.append("product") or 0.5)
    machine = Machine(CPU, "abacus", 2, {"float32": {4: 10.0, 8: 100.0}})
    # 128 operations in 0.25 s against a product of 2 * 8 ** 3 in 0.5 s.
    assert compare_with_products(lambda: calls.append("plan") or 0.25, 128, machine, "float32", budget=5.0) == (
        0.25,
        0.25,
    )
    turns = [name for name, before in zip(calls, [None, *calls]) if name != before]
    assert turns == ["product", "plan"] * timing.TURNS


def test_the_machine_is_measured_in_each_precision_and_size(monkeypatch):
    monkeypatch.setattr(timing, "PRODUCT_SIZES", {"cpu": (4, 8)})
    machine = measure_machine("cpu", budget=1e-4)
    assert {precision: list(rates) for precision, rates in machine.rates.items()} == {
        "float32": [4, 8],
        "bfloat16": [4, 8],
    }
    assert all(rate > 0 for rates in machine.rates.values() for rate in rates.values())


def test_the_first_plan_of_a_batch_begins_all_its_episodes(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(sampling_steps=1))
    plan = make_plan_timer(agent, Conditions("maze2d-umaze-v1", 1), batch=3)
    assert plan() > 0 and plan() > 0
    assert len(agent.plan_seconds) == 1, "the second call began new episodes"
    assert agent.act(np.zeros((3, 4))).shape == (3, 2)
    assert timing.find_precision(agent.model) == "float32"


def test_a_process_that_sleeps_uses_less_than_one_processor():
    had = timing.watch_processor_time()
    time.sleep(0.05)
    assert had() < 0.5
