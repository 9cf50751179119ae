"""The value on a corridor of ten places, where each step forward costs 1 and the last place ends the episode."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.data import value as module
from dfplan.data.recording import Recording
from dfplan.data.value import Value, find_return_bounds, fit_value
from dfplan.ground.errors import InputError
from dfplan.task import Task

TASK = Task(1, 1)
PLACES = 10


def walk(random, forward):
    """Return the columns of an episode from a random place, in which a step leads forward with the given chance."""
    x, seen, acted = int(random.integers(PLACES - 1)), [], []
    while x < PLACES and len(seen) < 30:
        action = 1.0 if random.random() < forward else -1.0
        seen.append(float(x))
        acted.append(action)
        x = max(x + int(action), 0)
    return {
        "observations": np.array([*seen, float(x)])[:, None],
        "actions": np.array(acted)[:, None],
        "rewards": np.full(len(seen), -1.0),
        "terminated": x == PLACES,
    }


@pytest.fixture(scope="module")
def recording():
    random = np.random.default_rng(0)
    return Recording.from_episodes([walk(random, 0.6) for _ in range(150)])


@pytest.fixture(scope="module")
def value(recording):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "DISCOUNT", 0.9)
        patched.setattr(module, "EXPECTILE", 0.98)
        return fit_value(recording, TASK)


def test_the_value_approaches_that_of_the_best_recorded_steps(value):
    """Walking forward from x pays -(1 + 0.9 + ...) over the steps that are left; the recorded mean is far lower."""
    left = PLACES - np.arange(PLACES)
    best = -(1 - 0.9**left) / 0.1
    found = value(torch.arange(float(PLACES))[:, None]).numpy()
    assert (np.diff(found) > 0).all() and np.abs(found - best).max() < 1.0


def test_the_spread_is_the_standard_deviation_over_the_recording(value, recording):
    row = ~recording.is_last | recording.is_absorbing
    found = value(torch.from_numpy(recording.observations[row]))
    assert value.spread.item() == pytest.approx(found.std().item(), rel=1e-4)
    assert value.discount.item() == pytest.approx(0.9)


def test_no_value_leaves_the_range_of_possible_returns(value, recording):
    assert find_return_bounds(recording, TASK) == pytest.approx((-100, 0))  # 0 after the end
    assert (value.lowest.item(), value.highest.item()) == pytest.approx((-10, 0))  # of the discount 0.9
    found = value(torch.linspace(-50, 50, 200)[:, None])
    assert found.min() >= -10 and found.max() <= 0


def test_nothing_is_earned_from_an_absorbing_observation_on(value):
    assert value(torch.tensor([[float(PLACES)]])).item() == pytest.approx(0, abs=0.05)


def test_a_reward_for_the_end_counts_once():
    """Rewards from -0.1 to 0 may be had forever, and 100 for the goal only once."""
    episode = {"observations": np.arange(4.0)[:, None], "actions": np.ones((3, 1)), "rewards": [0.0, -0.1, 100.0]}
    recording = Recording.from_episodes([episode | {"terminated": True}])
    assert find_return_bounds(recording, TASK) == pytest.approx((-10, 100))


def test_there_is_no_value_where_all_steps_are_alike_or_where_a_goal_says_what_is_good(recording):
    episode = {"observations": np.arange(4.0)[:, None], "actions": np.ones((3, 1)), "rewards": np.zeros(3)}
    alike = Recording.from_episodes([episode | {"terminated": True}])
    assert find_return_bounds(alike, TASK) is None and fit_value(alike, TASK) is None
    assert fit_value(recording, replace(TASK, goal=(0,))) is None
    assert find_return_bounds(recording.take(1), TASK) is None, "one row is no step"


def test_rare_failures_show_clearly_where_all_else_is_well():
    """At 2 an episode ends, after one of 1,000 steps. Everywhere else a step pays 1 forever, so V is 100 there."""
    states = np.random.default_rng(0).uniform(-1, 1, 20_001)
    well = {"observations": states[:, None], "actions": np.zeros((20_000, 1)), "rewards": np.ones(20_000)}
    end = {
        "observations": np.array([[0.0], [2.0], [3.0]]),
        "actions": np.zeros((2, 1)),
        "rewards": np.array([1.0, 0.0]),
    }
    value = fit_value(Recording.from_episodes([well] + [end | {"terminated": True}] * 20), TASK)
    found = value(torch.linspace(-1, 1, 50)[:, None])
    assert found.min() > 99 and value(torch.tensor([[2.0]])).item() < 50


def test_the_seed_determines_the_value(recording, monkeypatch):
    monkeypatch.setattr(module, "UPDATES", 5)
    one, same, other = (fit_value(recording, TASK, seed).weights_2 for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_reward_of_a_step_is_in_its_row_or_in_the_next_as_the_task_says(recording):
    row = np.flatnonzero(~recording.is_last | recording.is_absorbing)
    is_cut = np.append(recording.is_final & ~recording.is_absorbing, False)  # no reward of this observation is recorded
    rows_of = {"transition": (row, 0), "state": (row[~is_cut[row + 1]], 1)}
    for kind, (row, later) in rows_of.items():
        now, reward, then, goes_on = module._take_steps(recording, replace(TASK, reward_of=kind))
        is_step = ~recording.is_absorbing[row]
        np.testing.assert_array_equal(reward[is_step], recording.rewards[row[is_step] + later])
        assert not reward[~is_step].any() and not goes_on[~is_step].any()
        assert torch.equal(now[~is_step], then[~is_step]) and (~is_step).any()
    assert is_cut.any()


def test_a_value_is_restored_from_its_tensors_and_has_a_gradient(value):
    again = Value(**value.to_tensors())
    observations = torch.rand(3, 4, 1, requires_grad=True)
    values = again(observations)
    assert values.shape == (3, 4) and torch.equal(values, value(observations))
    values.sum().backward()
    assert observations.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("biases_2", torch.full((3, 1, 128), torch.nan), "impossible numbers"),
        ("std", torch.zeros(1), "impossible numbers"),
    ],
)
def test_an_impossible_value_is_refused(value, name, tensor, message):
    value.check("the file", 1)
    with pytest.raises(InputError, match=f"the file holds a value with {message}"):
        replace(value, **{name: tensor}).check("the file", 1)
    with pytest.raises(InputError, match="the file holds a value with shapes that do not match"):
        value.check("the file", 2)


def test_returns_too_large_for_float32_are_refused():
    episode = {"observations": np.zeros((3, 1)), "actions": np.zeros((2, 1)), "rewards": [3e38, -3e38]}
    with pytest.raises(InputError, match=r"up to 3e\+38 have returns too large for float32"):
        find_return_bounds(Recording.from_episodes([episode]), TASK)
