"""Every setting of the model and of its training, as frozen dataclasses, and one recipe per maze."""

from dataclasses import dataclass, replace

from dfplan.envs.errors import unknown_name

PRECISIONS = ("auto", "float32", "bfloat16")
DEMONSTRATIONS = ("re-executed", "recorded")
BACKBONE_NAMES = ("transformer", "rnn")  # the keys of dfplan.backbones.BACKBONES, which is built on this module


@dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint needs to be rebuilt: sizes of the tokens, of the noise schedule and of the backbone.

    Raises:
        ValueError: if ``width`` cannot be split over ``num_heads``, a size is below 1, the goal is larger than the
            observation, or the backbone is unknown or no fit for ``causal``.
    """

    observation_dim: int = 4
    action_dim: int = 2
    goal_dim: int = 2  # a goal is a value of the first goal_dim channels of the observation (the position)
    frame_stack: int = 10  # environment steps per token
    num_tokens: int = 48  # planned tokens at most; the training horizon is num_tokens * frame_stack steps
    num_levels: int = 1000  # K: level 0 is clean, level K pure noise
    noise_schedule: str = "cosine"
    snr_scale: float = (
        1 / 16
    )  # divides the SNR: a token of nearly equal frames betrays its content even under heavy noise
    width: int = 128
    depth: int = 4
    num_heads: int = 4
    causal: bool = False
    fine_frequencies: int = 0  # octaves of sines and cosines in which goal and start are shown besides their values
    backbone: str = "transformer"  # or "rnn", which is causal by its nature

    def __post_init__(self):
        sizes = (
            "observation_dim",
            "action_dim",
            "goal_dim",
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
        if self.goal_dim > self.observation_dim:
            raise ValueError(f"goal_dim={self.goal_dim} exceeds observation_dim={self.observation_dim}")
        if self.snr_scale <= 0:
            raise ValueError(f"snr_scale must be positive, not {self.snr_scale}")
        if self.backbone not in BACKBONE_NAMES:
            raise unknown_name("backbone", self.backbone, BACKBONE_NAMES)
        if self.backbone == "rnn" and not self.causal:
            raise ValueError(f"backbone={self.backbone!r} sees no later token: it needs causal=True, not {self.causal}")

    @property
    def horizon(self) -> int:
        """Environment steps in the longest plan."""
        return self.num_tokens * self.frame_stack

    @property
    def token_dim(self) -> int:
        """Channels of one token."""
        return self.frame_stack * (self.observation_dim + self.action_dim + 1)


@dataclass(frozen=True)
class TrainingConfig:
    """How a checkpoint is trained; ``seed`` decides data, initial weights, batches and noise.

    Raises:
        ValueError: if a count is below 1 or a probability leaves [0, 1].
    """

    steps: int = 9_000
    batch_size: int = 64
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup_steps: int = 200
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    level_sampler: str = "mixture"
    loss_weight: str = "constant"
    next_token_weight: float = 1.0  # factor on the loss of the first planned token; it falls to 1 within a few tokens
    goal_known: float = 0.8  # share of windows whose goal token is clean; it is masked in the rest
    goal_on_the_way: float = 0.5  # share of windows whose goal is a state on the way, not the segment's end
    long_ways: float = 0.0  # share of windows that begin at a row drawn in proportion to its steps to the goal
    short_ways: float = 0.0  # share of windows that begin at most dfplan.data.SHORT_WAY steps before their goal
    hold_goal: bool = True  # windows stand still after their goal; False: they run on past it along the recording
    start_known: float = 0.8  # share of windows whose current observation is (nearly) clean
    start_level: float = 0.004  # its highest level then, as a share of K
    masked_tail: float = 0.0  # share of windows whose tokens behind a random one are masked (dfplan.levels)
    precision: str = "auto"  # float32, bfloat16 (autocast), or whichever is faster where the training begins
    demonstrations: str = "recorded"  # or "re-executed": the same ways driven faster, see dfplan.reexecution
    dataset: str = "generate"  # or "d4rl", or the path of an HDF5 file
    rows: int | None = 1_000_000  # None for all that the dataset has
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
                f"re-executed demonstrations end at rest at their goals; goal_on_the_way={self.goal_on_the_way} and "
                f"hold_goal={self.hold_goal} do not fit, 0 and True do."
            )
        if not self.next_token_weight > 0:
            raise ValueError(f"next_token_weight must be above 0, not {self.next_token_weight}")
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
        if self.short_ways and not self.hold_goal:
            raise ValueError(
                f"short_ways={self.short_ways} needs hold_goal=True: other windows have more steps than a short way."
            )
        if self.long_ways + self.short_ways > 1:
            raise ValueError(f"long_ways={self.long_ways} and short_ways={self.short_ways} are more than all windows.")


@dataclass(frozen=True)
class Recipe:
    """Model and training settings for one environment."""

    env_id: str
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


# By the name that dfplan-train knows: what changes in a recipe's model. The RNN is as large as the transformers.
BACKBONE_SETTINGS = {
    "transformer": {"causal": False},
    "causal_transformer": {"causal": True},
    "rnn": {"backbone": "rnn", "causal": True, "width": 132, "num_heads": 2},
}
_RE_EXECUTED = TrainingConfig(
    demonstrations="re-executed",
    goal_on_the_way=0.0,
    long_ways=0.4,
    short_ways=0.3,
    start_level=0.001,
    next_token_weight=4.0,
)


def _planner(maze: str, num_tokens: int, steps: int) -> Recipe:
    model = ModelConfig(num_tokens=num_tokens, causal=True, fine_frequencies=5)
    return Recipe(f"maze2d-{maze}-v1", model, replace(_RE_EXECUTED, steps=steps))


def _recorded(maze: str, num_tokens: int, steps: int) -> Recipe:
    return Recipe(f"maze2d-{maze}-v1", ModelConfig(num_tokens=num_tokens), TrainingConfig(steps=steps))


# By maze, the recipes of the shipped planners. The horizon covers the way between the two farthest cells.
RECIPES = {
    "open": _planner("open", num_tokens=12, steps=8_000),
    "umaze": _planner("umaze", num_tokens=18, steps=8_000),
    "medium": _planner("medium", num_tokens=24, steps=12_000),
    "large": _planner("large", num_tokens=34, steps=16_000),
}
# The same for demonstrations as they were recorded: of the ablations' checkpoints.
RECORDED_RECIPES = {
    "open": _recorded("open", num_tokens=16, steps=4_000),
    "umaze": _recorded("umaze", num_tokens=20, steps=4_000),
    "medium": _recorded("medium", num_tokens=36, steps=7_000),
    "large": _recorded("large", num_tokens=48, steps=9_000),
}
