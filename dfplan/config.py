"""The settings of a model and of its training, as frozen dataclasses. ``dfplan.recipes`` has the values for each maze.

A setting that names an entry of a table, such as ``backbone``, is checked where the table is read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfplan.ground.command_line import LARGEST_SEED
from dfplan.ground.errors import unknown_name
from dfplan.task import MAZE, Task, task_from_dict

PRECISIONS = ("auto", "float32", "bfloat16")
DEMONSTRATIONS = ("re-executed", "recorded")
OLD_SIZES = {"observation_dim": 4, "action_dim": 2, "goal_dim": 2}  # in checkpoints without a task: those of the mazes


@dataclass(frozen=True)
class ModelConfig:
    """The task, and the sizes of tokens, noise schedule and backbone; a checkpoint is rebuilt from it.

    Raises:
        ValueError: if a size is below 1, ``width`` is not a multiple of 2 * ``num_heads``, ``snr_scale`` is not above
            0, ``fine_frequencies`` is below 0, or the RNN is configured with ``causal=False``.
    """

    task: Task = MAZE
    frame_stack: int = 10  # environment steps per token
    num_tokens: int = 48  # most planned tokens; the training horizon is num_tokens * frame_stack steps
    num_levels: int = 1000  # K: level 0 is clean, level K is pure noise
    noise_schedule: str = "cosine"  # a name in dfplan.model.noise.ALPHA_BARS
    # Factor on the SNR of every level. The frames of a token are nearly equal, so their content is visible even under
    # heavy noise; a factor below 1 makes up for this redundancy.
    snr_scale: float = 1 / 16
    width: int = 128
    depth: int = 4
    num_heads: int = 4
    causal: bool = False  # whether a token sees earlier tokens only
    fine_frequencies: int = 0  # octaves of sines and cosines by which goal and start are embedded in addition
    backbone: str = "transformer"  # a name in dfplan.model.backbones.BACKBONES

    def __post_init__(self):
        sizes = (
            "frame_stack",
            "num_tokens",
            "num_levels",
            "width",
            "depth",
            "num_heads",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width={self.width} must be a multiple of 2 * num_heads={2 * self.num_heads}")
        if self.fine_frequencies < 0:
            raise ValueError(f"fine_frequencies must be at least 0, not {self.fine_frequencies}")
        if not 0 < self.snr_scale < math.inf:
            raise ValueError(f"snr_scale must be positive, not {self.snr_scale}")
        if self.backbone == "rnn" and not self.causal:
            raise ValueError(f"backbone={self.backbone!r} is always causal; set causal=True, not {self.causal}.")

    @property
    def horizon(self) -> int:
        """Environment steps in the longest plan."""
        return self.num_tokens * self.frame_stack

    @property
    def token_dim(self) -> int:
        """Channels of one token."""
        return self.frame_stack * (self.task.observation_dim + self.task.action_dim + 1)


def read_model_config(saved: Mapping[str, Any]) -> ModelConfig:
    """Return the configuration that ``dataclasses.asdict`` has turned into a dictionary, as checkpoints hold it.

    Checkpoints that were written before there were tasks have sizes in the place of the task, and are of the mazes.

    Raises:
        InputError: if the task is impossible.
        TypeError: if a setting is unknown.
        ValueError: if a setting is out of range.
    """
    settings = dict(saved)
    if "task" in settings:
        return ModelConfig(**(settings | {"task": task_from_dict(settings["task"])}))
    sizes = {name: settings.pop(name) for name in OLD_SIZES if name in settings}
    observation_dim, action_dim, goal_dim = (sizes.get(name, size) for name, size in OLD_SIZES.items())
    if (observation_dim, action_dim, goal_dim) == tuple(OLD_SIZES.values()):
        return ModelConfig(**settings)
    facts = {"goal": tuple(range(goal_dim)), "rests": goal_dim > 0, "reward_of": "state"}
    return ModelConfig(task=Task(observation_dim, action_dim, **facts), **settings)


@dataclass(frozen=True)
class TrainingConfig:
    """How a checkpoint is trained. ``seed`` determines data, initial weights, batches and noise.

    Raises:
        ValueError: if a count is below 1, a share is outside [0, 1], a rate or a weight is negative or not finite, a
            name is unknown, or settings contradict each other.
    """

    steps: int = 9_000
    batch_size: int = 64
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup_steps: int = 200
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    level_sampler: str = "mixture"  # a name in dfplan.model.levels.LEVEL_SAMPLERS
    loss_weight: str = "constant"  # a name in dfplan.model.loss.LOSS_WEIGHTS
    next_token_weight: float = 1.0  # factor on the loss of the first planned token; it falls to 1 within a few tokens
    goal_known: float = 0.8  # share of windows with a clean goal token; in the others it is masked
    goal_on_the_way: float = 0.5  # share of windows whose goal is a state on the way, not the end of the segment
    # Share of windows whose first row is drawn in proportion to its steps to the goal, or with hold_goal=False to the
    # distance between the first and the last goal channels of the window.
    long_ways: float = 0.0
    short_ways: float = 0.0  # share of windows that begin at most dfplan.data.windows.SHORT_WAY steps before their goal
    short_windows: bool = False  # whether windows may reach beyond the end of an episode, see dfplan.data.windows
    hold_goal: bool = True  # True: a window stands still after its goal. False: it follows the recording past the goal
    start_known: float = 0.8  # share of windows whose current observation is (nearly) clean
    start_level: float = 0.004  # highest level of these observations, as a share of K
    masked_tail: float = 0.0  # share of windows whose tokens after a random one are masked (dfplan.model.levels)
    precision: str = "auto"  # float32, bfloat16 (autocast), or auto: the faster one on the machine of the first update
    demonstrations: str = "recorded"  # or "re-executed": the same paths driven faster, see dfplan.data.reexecution
    dataset: str = "generate"  # in D4RL's mazes; or "d4rl", or the name of the recording
    rows: int | None = 1_000_000  # None for all rows of the dataset
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "rows"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.demonstrations not in DEMONSTRATIONS:
            raise unknown_name("demonstrations", self.demonstrations, DEMONSTRATIONS)
        if self.demonstrations == "re-executed" and (self.goal_on_the_way or not self.hold_goal):
            raise ValueError(
                "re-executed demonstrations end at rest at their goals; they need goal_on_the_way=0 and "
                f"hold_goal=True, not {self.goal_on_the_way} and {self.hold_goal}."
            )
        for name in ("learning_rate", "gradient_clip", "next_token_weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        for name in ("final_learning_rate", "weight_decay", "warmup_steps", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {getattr(self, name)}")
        if self.seed > LARGEST_SEED:
            raise ValueError(f"seed must be at most {LARGEST_SEED}, not {self.seed}")
        for name in (
            "goal_known",
            "goal_on_the_way",
            "long_ways",
            "short_ways",
            "start_known",
            "start_level",
            "masked_tail",
            "ema_decay",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        if self.short_windows and self.hold_goal:
            raise ValueError("short_windows=True needs hold_goal=False, which follows a recording past its goals.")
        if self.short_ways and not self.hold_goal:
            raise ValueError(
                f"short_ways={self.short_ways} needs hold_goal=True: without it, a window is longer than a short way."
            )
        if self.long_ways + self.short_ways > 1:
            raise ValueError(f"long_ways={self.long_ways} and short_ways={self.short_ways} must add up to at most 1.")


@dataclass(frozen=True)
class Recipe:
    """The settings of a model and of its training for one environment."""

    env_id: str
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
