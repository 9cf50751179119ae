"""Small models that all tests share; one thread each, so that a test run leaves the machine usable."""

import os
import resource
from contextlib import contextmanager

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch

from dfplan.config import ModelConfig
from dfplan.data.cost_to_go import CostToGo
from dfplan.data.trajectories import Statistics
from dfplan.model.diffusion_forcing import DiffusionForcing

torch.set_num_threads(1)


@pytest.fixture
def tiny_config() -> ModelConfig:
    return ModelConfig(frame_stack=2, num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2)


@pytest.fixture
def tiny_model(tiny_config) -> DiffusionForcing:
    torch.manual_seed(0)
    statistics = Statistics(
        np.array([3, 4, 0, 0, 0, 0, 0.5], np.float32), np.array([2, 2, 3, 3, 1, 1, 0.5], np.float32)
    )
    return DiffusionForcing(tiny_config, statistics).eval().requires_grad_(False)


@pytest.fixture
def cost_to_go() -> CostToGo:
    """What is known of the open square from 0 to 8 by who walks all over it in steps of 0.25, back and forth."""
    row = np.arange(0.125, 8, 0.25)
    x, y = (axis.ravel() for axis in np.meshgrid(row, row))
    ways = [np.stack([x, y], axis=1), np.stack([y, x], axis=1)]
    positions = np.concatenate([way for forth in ways for way in (forth, forth[::-1])])
    return CostToGo.fit(positions, np.arange(1, len(positions) + 1) % len(row) == 0)


@pytest.fixture
def knowing_model(tiny_model, cost_to_go) -> DiffusionForcing:
    """The tiny model with a cost to go."""
    tiny_model.cost_to_go = cost_to_go
    return tiny_model


@pytest.fixture
def tiny_dataset() -> dict[str, np.ndarray]:
    """Two demonstrations of 30 and 20 rows along x; row t of the first stands at x = t / 10."""
    x = np.concatenate([np.arange(30), np.arange(20)]) / 10
    observations = np.stack([x, np.ones(50), np.full(50, 2.0), np.zeros(50)], axis=1).astype(np.float32)
    return {
        "observations": observations,
        "actions": np.stack([x, -x], axis=1).astype(np.float32),
        "rewards": (x > 2.5).astype(np.float32),
        "timeouts": np.zeros(50, bool),
        "infos/goal": np.repeat(np.array([[2.9, 1.0], [1.9, 1.0]], np.float32), [30, 20], axis=0),
        "infos/qpos": observations[:, :2],
        "infos/qvel": observations[:, 2:],
    }


@pytest.fixture
def full_disk():
    """A context in which no file can grow beyond ``size`` bytes, as on a full disk."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
