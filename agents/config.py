"""How the agent decides: the settings of the planner, and presets of them."""

from dataclasses import dataclass

from dfplan.agents.controllers import CONTROLLERS
from dfplan.envs.errors import InputError, choose, unknown_name
from dfplan.guidance import goal_distance, squashed_goal_distance
from dfplan.schedules import SCHEDULES

MODES = ("planner", "policy")
# The paper's own planner (§3.4): the model is not told the goal, guidance is. Settings of ``PlannerConfig``.
MONTE_CARLO_GUIDANCE = {
    "goal_token": False,
    "guide": "squashed_goal_distance",
    "guidance_scale": 0.8,
    "num_futures": 4,
    "schedule": "pyramid",
    "uncertainty_scale": 0.2,
    "sampling_steps": 10,
    "open_loop_horizon": 40,
}
# A policy's one token is drawn in one step: in training, half-noisy tokens hardly ever stand before a masked future.
POLICY = {"mode": "policy", "sampling_steps": 1, "open_loop_horizon": 5}
GOAL_GUIDES = {"goal_distance": goal_distance, "squashed_goal_distance": squashed_goal_distance}


@dataclass(frozen=True)
class PlannerConfig:
    """How the agent decides; every field may be changed between episodes without retraining.

    Attributes:
        mode: ``planner`` plans a horizon, ``policy`` one token.
        controller: what turns a plan into actions, a name in ``CONTROLLERS``.
        horizon: steps to plan; None for the longest the model knows. Shrinks to what is left of the episode.
        open_loop_horizon: steps executed before replanning.
        sampling_steps: denoising steps of each token.
        schedule: a name in ``dfplan.schedules.SCHEDULES``, or an array (row, token) of levels.
        uncertainty_scale: sampling steps by which a token lags behind its predecessor, in schedules that know it.
        observation_level: the level at which the current observation is believed, as a share of K: 0 trusts it
            entirely, more lets the model correct it (§3.3, §4.4).
        goal_token: whether the goal is given to the model; otherwise only guidance knows of it, as in the paper.
        goal_strength: classifier-free strength of the goal token.
        guide: None, or a name in ``GOAL_GUIDES``, or a callable that scores plans (see ``dfplan.guidance``).
        guidance_scale: factor on the gradient of the guide.
        num_futures: N of Monte-Carlo guidance.

    Raises:
        InputError: if a name is unknown or a number out of range.
    """

    mode: str = "planner"
    controller: str = "pursuit"
    horizon: int | None = None
    open_loop_horizon: int = 20
    sampling_steps: int = 3
    schedule: object = "full_sequence"
    uncertainty_scale: float = 1.0
    observation_level: float = 0.0
    goal_token: bool = True
    goal_strength: float = 1.0
    guide: object = None
    guidance_scale: float = 1.0
    num_futures: int = 1

    def __post_init__(self):
        if self.mode not in MODES:
            raise unknown_name("mode", self.mode, MODES)
        choose("controller", self.controller, CONTROLLERS)
        if isinstance(self.guide, str):
            choose("guide", self.guide, GOAL_GUIDES)
        if isinstance(self.schedule, str):
            choose("schedule", self.schedule, SCHEDULES)
        if not self.uncertainty_scale >= 0:
            raise InputError(f"uncertainty_scale must be at least 0, not {self.uncertainty_scale}.")
        for name in ("open_loop_horizon", "sampling_steps", "num_futures"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.horizon is not None and self.horizon < 1:
            raise InputError(f"horizon must be at least 1 step, not {self.horizon}.")
        if not 0 <= self.observation_level <= 1:
            raise InputError(f"observation_level must lie in [0, 1], not {self.observation_level}.")
