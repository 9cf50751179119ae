import numpy as np
import pytest

from dfplan.config import TrainingConfig
from dfplan.data import WindowSampler, segment_ends
from dfplan.envs.errors import InputError


def test_a_segment_ends_where_the_goal_changes_or_a_timeout_stands_and_with_the_data():
    goals = np.array([[1, 1], [1, 1], [2, 2], [2, 2], [2, 2], [2, 2]])
    dataset = {"infos/goal": goals, "timeouts": np.array([0, 0, 0, 1, 0, 0], bool)}
    assert segment_ends(dataset).tolist() == [1, 1, 3, 3, 5, 5]


def windows(tiny_dataset, tiny_config, count=200, **settings):
    return WindowSampler(tiny_dataset, tiny_config, TrainingConfig(**settings)).draw(count, np.random.default_rng(0))


def test_a_window_holds_the_states_after_each_action(tiny_dataset, tiny_config):
    drawn = windows(tiny_dataset, tiny_config, goal_on_the_way=0.0)
    x = drawn.trajectories.observations[..., 0].numpy()  # (batch, step)
    start = drawn.starts[:, 0].numpy()
    moving = drawn.trajectories.observations[..., 2].numpy() > 0
    expected = start[:, None] + np.arange(1, tiny_config.horizon + 1) / 10
    np.testing.assert_allclose(x[moving], expected[moving], atol=1e-5)
    np.testing.assert_allclose(drawn.trajectories.actions[..., 0].numpy()[moving], expected[moving] - 0.1, atol=1e-5)


def test_after_the_goal_a_window_stands_still(tiny_dataset, tiny_config):
    drawn = windows(tiny_dataset, tiny_config, goal_on_the_way=0.0)
    plan = drawn.trajectories
    assert set(drawn.goals[:, 0].double().numpy().round(3).tolist()) == {2.9, 1.9} and (drawn.goals[:, 1] == 1).all()
    still = plan.observations[..., 2] == 0
    assert still.any() and not still[:, 0].any(), "a window has at least one step to go"
    goal_x = drawn.goals[:, :1].expand(-1, tiny_config.horizon)
    assert (plan.observations[..., 0][still] == goal_x[still]).all()
    assert not plan.actions[still].any()


def test_goals_on_the_way_lie_ahead_within_the_segment(tiny_dataset, tiny_config):
    drawn = windows(tiny_dataset, tiny_config, goal_on_the_way=1.0)
    ahead = (drawn.goals[:, 0] - drawn.starts[:, 0]).numpy()
    assert ahead.min() == pytest.approx(0.1, abs=1e-5) and ahead.max() > 1
    assert (drawn.goals[:, 0] < 2.9).any()


def test_rewards_are_about_the_state_after_the_step(tiny_dataset, tiny_config):
    plan = windows(tiny_dataset, tiny_config).trajectories
    assert ((plan.observations[..., 0] > 2.5) == (plan.rewards == 1)).all()


def test_a_goal_token_and_a_start_token_stand_before_the_plan(tiny_dataset, tiny_config, tiny_model):
    tokens = windows(tiny_dataset, tiny_config, count=3).tokens(tiny_model.codec)
    assert tokens.shape == (3, 2 + tiny_config.num_tokens, tiny_config.token_dim)


def test_data_without_two_steps_of_one_demonstration_are_refused(tiny_dataset, tiny_config):
    one_row = {key: column[:1] for key, column in tiny_dataset.items()}
    with pytest.raises(InputError, match="take more rows"):
        WindowSampler(one_row, tiny_config, TrainingConfig())
