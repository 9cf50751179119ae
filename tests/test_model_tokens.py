import numpy as np
import torch

from dfplan.config import ModelConfig
from dfplan.data.recording import Recording
from dfplan.data.trajectories import Statistics, Trajectories
from dfplan.model.tokens import GOAL, START, TrajectoryCodec

CONFIG = ModelConfig(frame_stack=2, num_tokens=3)
STATISTICS = Statistics(np.arange(7, dtype=np.float32), np.full(7, 2, np.float32))


def trajectories(batch=2, steps=6):
    return Trajectories(torch.randn(batch, steps, 4), torch.randn(batch, steps, 2), torch.randn(batch, steps))


def test_decoding_returns_what_was_encoded():
    codec, given = TrajectoryCodec(CONFIG, STATISTICS), trajectories()
    returned = codec.decode(codec.encode(given))
    torch.testing.assert_close(returned.observations, given.observations)
    torch.testing.assert_close(returned.actions, given.actions)
    torch.testing.assert_close(returned.rewards, given.rewards)


def test_a_token_stacks_observation_action_and_reward_of_each_of_its_frames():
    codec = TrajectoryCodec(CONFIG, STATISTICS)
    given = Trajectories(
        torch.tensor([[[0.0, 1, 2, 3], [2, 3, 4, 5]]]), torch.tensor([[[4.0, 5], [6, 7]]]), torch.tensor([[6.0, 10]])
    )
    expected = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]  # ((value - channel) / 2) frame after frame
    assert codec.encode(given)[0, 0].tolist() == expected


def test_goal_and_start_fill_the_first_channels_and_leave_the_rest_at_zero():
    codec = TrajectoryCodec(CONFIG, STATISTICS)
    goal, start = codec.encode_goal(torch.tensor([[2.0, 5.0]])), codec.encode_start(torch.tensor([[2.0, 1, 2, 3]]))
    assert goal.shape == start.shape == (1, 1, CONFIG.token_dim)
    assert goal[0, 0, :2].tolist() == [1.0, 2.0] and not goal[0, 0, 2:].any()
    assert start[0, 0, :4].tolist() == [1.0, 0.0, 0.0, 0.0] and not start[0, 0, 4:].any()


def test_only_padding_channels_are_unused():
    used = TrajectoryCodec(CONFIG).used_channels(3)
    assert used.sum(dim=1).tolist() == [2, 4, 14, 14, 14]
    assert used[GOAL, :2].all() and used[START, :4].all()


def test_statistics_are_those_of_the_data_with_rewards_scaled_to_plus_minus_one():
    dataset = {
        "observations": np.array([[0, 1, 2, 3], [2, 1, 2, 5]], np.float32),
        "actions": np.array([[1, 0], [-1, 0]], np.float32),
        "rewards": np.array([0, 1], np.float32),
        "timeouts": np.zeros(2, bool),
    }
    statistics = Statistics.from_recording(Recording.from_rows(dataset))
    np.testing.assert_allclose(statistics.mean, [1, 1, 2, 4, 0, 0, 0.5])
    np.testing.assert_allclose(statistics.std, [1, 1e-3, 1e-3, 1, 1, 1e-3, 0.5])


def test_decoding_a_start_returns_the_observation():
    codec, observation = TrajectoryCodec(CONFIG, STATISTICS), torch.randn(2, 4)
    torch.testing.assert_close(codec.decode_start(codec.encode_start(observation)[:, 0]), observation)


def test_a_token_that_rests_at_the_goal_has_the_goal_in_every_frame():
    codec = TrajectoryCodec(CONFIG, STATISTICS)
    token, known = codec.encode_rest_at_goal(torch.tensor([[2.0, 5.0]]))
    frames = codec.decode(token[:, None])
    torch.testing.assert_close(frames.observations, torch.tensor([[[2.0, 5.0, 0.0, 0.0]] * 2]))
    assert known.tolist() == [True, True, True, True, False, False, False] * 2
