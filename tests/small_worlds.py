"""Small environments for the tests of evaluations."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict


class Line(gym.Env):
    """A point that moves by its action; an episode ends after a number of steps that its seed draws.

    The reward is the position. With ``success`` the last step reports one; ``goal`` is reported by infos.
    """

    def __init__(self, shortest=3, longest=9, key="success", goal=None, low=-1.0, high=2.0):
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = Box(low, high, (1,), np.float32)
        self.shortest, self.longest, self.key, self.goal = shortest, longest, key, goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(self.shortest, self.longest + 1))
        self.state = self.np_random.normal(size=3)
        return self.state.copy(), self._make_info(False)

    def step(self, action):
        assert self.left > 0, "a step after the end of the episode"
        self.state[0] += action[0]
        self.left -= 1
        return self.state.copy(), float(self.state[0]), self.left == 0, False, self._make_info(self.left == 0)

    def _make_info(self, success):
        info = {} if self.key is None else {self.key: success}
        return info if self.goal is None else info | {"goal": np.array(self.goal, float)}


class GoalLine(gym.Env):
    """A point in the plane with dictionary observations; it never ends by itself."""

    def __init__(self):
        numbers = Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = Dict({name: numbers for name in ("observation", "achieved_goal", "desired_goal")})
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.goal = self.np_random.normal(size=(2, 2))
        return self._observe(), {}

    def step(self, action):
        self.state = self.state + 0.1 * action
        is_near = bool(np.linalg.norm(self.state - self.goal) < 0.5)
        return self._observe(), float(is_near), False, False, {"is_success": is_near}

    def _observe(self):
        return {"observation": self.state.copy(), "achieved_goal": self.state.copy(), "desired_goal": self.goal.copy()}


class SeededAgent:
    """Draws actions from the seed of each episode, and notes its resets; it renews single episodes."""

    def __init__(self, size=1):
        self.size, self.resets = size, []

    def reset(self, goal=None, seed=None, num_steps=None, episodes=None):
        self.resets.append({"goal": goal, "seed": seed, "num_steps": num_steps, "episodes": episodes})
        streams = [np.random.default_rng(number) for number in seed]
        if episodes is None:
            self.streams = streams
        else:
            for episode, stream in zip(episodes, streams, strict=True):
                self.streams[episode] = stream

    def act(self, obs):
        return np.array([stream.uniform(-1, 1, self.size) for stream in self.streams], dtype=np.float32)


class BatchAgent(SeededAgent):
    """The same without renewing single episodes."""

    def reset(self, goal=None, seed=None, num_steps=None):
        super().reset(goal, seed, num_steps)
