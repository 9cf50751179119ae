"""How the agent decides: the settings of the planner. ``dfplan.agents.presets`` has sets of them by name."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from dfplan.agents.candidates import MOTION_SELECTIONS, SELECTIONS
from dfplan.agents.controllers import CONTROLLERS, LOOKAHEAD, MOTION_CONTROLLERS
from dfplan.agents.guides import BY_COST, GUIDE_NAMES, single_guides, way_points
from dfplan.agents.observations import checked_share
from dfplan.envs.errors import InputError, choose, unknown_name
from dfplan.guidance import WayPoint
from dfplan.noise import SOLVERS
from dfplan.schedules import SCHEDULES

MODES = ("planner", "policy")


@dataclass(frozen=True)
class PlannerConfig:
    """How the agent decides; every field may be changed between episodes without retraining.

    With the defaults of this class the model is told its goal by a token. ``DFPlanner.load`` chooses defaults that suit
    the checkpoint (``dfplan.agents.presets.config_for``).

    Attributes:
        mode: ``planner`` plans a horizon, ``policy`` one token.
        controller: what turns a plan into actions, a name in ``CONTROLLERS``.
        hold: whether a PD law holds the plan's end once the plan stands still there, whatever the controller.
        horizon: steps to plan; None for the longest the model knows. Shrinks to what is left of the episode.
        open_loop_horizon: steps executed before replanning, at most the plan's; None plans once. When that plan is
            over, the controllers that track it hold its last state, and ``diffused`` repeats its last action.
        sampling_steps: denoising steps of each token.
        solver: what a denoising step aims at, a name in ``dfplan.noise.SOLVERS``.
        schedule: a name in ``dfplan.schedules.SCHEDULES``, or an array (row, token) of levels.
        uncertainty_scale: sampling steps by which a token lags behind its predecessor, in schedules that know it.
        observation_level: the level at which observations are shown to the model, as a share of K, while the plan is
            cleaned: 0 trusts them entirely, a small one keeps long roll-outs stable (§3.3, k_small of App. C.4).
            ``DFPlanner.act`` may be told another one, observation by observation (§4.4).
        history: tokens of executed history shown to the model at most; 0 is memoryless (§4.4). The window grows from
            none at ``reset``, in whole tokens, ends now, and takes its room from the longest plan.
        goal_token: whether the goal is given to the model; otherwise only guidance knows of it, as in the paper.
        in_paint_goal: whether the plan's last token must stand still at the goal (Diffuser's way, App. C.1).
        goal_strength: classifier-free strength of the goal token.
        guide: None, or a name in ``dfplan.agents.guides.GUIDE_NAMES``, or a callable that scores plans (see
            ``dfplan.guidance``), or a tuple of these, whose scores are added up. Beside ``cost_to_go`` there may stand
            ``WayPoint``s, which are passed before the goal.
        guidance_scale: factor on the gradient of the guide; a tuple has the candidates' scales, in turn.
        max_shift: the most by which one row's guidance may move a token, in standard deviations of the data (see
            ``dfplan.sampler.Guidance``); None for no limit.
        num_futures: N of Monte-Carlo guidance.
        future_steps: denoising steps of each future before the guide scores it. With 1 all futures of a token that is
            followed by pure noise are nearly the mean future.
        candidates: plans made for each decision, of which the best is followed.
        selection: what the best of several candidates is, a name in ``dfplan.agents.candidates.SELECTIONS``.
        replan_error: distance of the observed position from the planned one, in environment units, beyond which the
            plan is given up before its time; None trusts the clock. Each episode of a batch decides for itself.
        warm_start: level, as a share of K, to which the rest of the last plan is noised to begin the next one from;
            None begins from pure noise. Rows of the schedule above that level are left out.
        pursuit_lookahead: steps of the plan by which the controller ``pursuit`` aims ahead.

    Raises:
        InputError: if a name is unknown or a number out of range.
    """

    mode: str = "planner"
    controller: str = "pursuit"
    hold: bool = False
    horizon: int | None = None
    open_loop_horizon: int | None = 10
    sampling_steps: int = 3
    solver: str = "ddim"
    schedule: object = "full_sequence"
    uncertainty_scale: float = 1.0
    observation_level: float = 0.0
    history: int = 0
    goal_token: bool = True
    in_paint_goal: bool = False
    goal_strength: float = 1.0
    guide: object = None
    guidance_scale: float | tuple[float, ...] = 1.0
    max_shift: float | None = None
    num_futures: int = 1
    future_steps: int = 1
    candidates: int = 1
    selection: str = "consistency"
    replan_error: float | None = None
    warm_start: float | None = None
    pursuit_lookahead: int = LOOKAHEAD

    @property
    def reads_motion(self) -> str | None:
        """The first setting, if any, that takes an observation for a position and the velocity of that position."""
        readers = {
            f"controller={self.controller!r}": self.controller in MOTION_CONTROLLERS,
            "hold=True": self.hold,
            f"replan_error={self.replan_error}": self.replan_error is not None,
            f"selection={self.selection!r}": self.candidates > 1 and self.selection in MOTION_SELECTIONS,
        }
        return next((setting for setting, reads in readers.items() if reads), None)

    def __post_init__(self):
        if isinstance(self.schedule, np.ndarray | torch.Tensor):  # a copy: the caller may use its memory again
            object.__setattr__(self, "schedule", torch.as_tensor(self.schedule).clone())
        if self.mode not in MODES:
            raise unknown_name("mode", self.mode, MODES)
        choose("controller", self.controller, CONTROLLERS)
        choose("selection", self.selection, SELECTIONS)
        choose("solver", self.solver, SOLVERS)
        self._check_guides()
        if self.max_shift is not None and not self.max_shift > 0:
            raise InputError(f"max_shift must be above 0 standard deviations, or None, not {self.max_shift}.")
        if isinstance(self.schedule, str):
            choose("schedule", self.schedule, SCHEDULES)
        if not self.uncertainty_scale >= 0:
            raise InputError(f"uncertainty_scale must be at least 0, not {self.uncertainty_scale}.")
        for name in ("sampling_steps", "num_futures", "future_steps", "candidates", "pursuit_lookahead"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("open_loop_horizon", "horizon"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1 step, not {getattr(self, name)}.")
        if not isinstance(self.history, int) or self.history < 0:
            raise InputError(f"history must be a whole number of tokens, 0 or more, not {self.history}.")
        if self.replan_error is not None:
            if not self.replan_error > 0:
                raise InputError(f"replan_error must be a distance above 0, not {self.replan_error}.")
            if self.history:
                raise InputError(
                    f"a history of {self.history} tokens needs plans made together; leave out replan_error "
                    f"({self.replan_error}), by which each episode plans when it needs to."
                )
        if self.warm_start is not None and not checked_share(self.warm_start, "warm_start"):
            raise InputError("warm_start must be above 0: a last plan without noise would never change.")
        if self.mode == "policy" and (self.in_paint_goal or self.open_loop_horizon is None):
            raise InputError("a policy plans one token: neither in_paint_goal nor open_loop_horizon=None fits it.")
        checked_share(self.observation_level, "observation_level")

    def _check_guides(self) -> None:
        """Raise ``InputError`` for a guide that is neither a name nor callable, or scales that are no numbers."""
        guides = single_guides(self.guide)
        for guide in guides:
            if isinstance(guide, str):
                if guide not in GUIDE_NAMES:
                    raise unknown_name("guide", guide, GUIDE_NAMES)
            elif not (callable(guide) or isinstance(guide, WayPoint) or self.guide is None):
                raise InputError(
                    f"a guide must be a name, a callable or a WayPoint, or a tuple of them, not {guide!r}."
                )
        if way_points(self.guide) and BY_COST not in guides:
            raise InputError(f"a way point stands beside guide={BY_COST!r}, which knows the ways to it.")
        scales = self.guidance_scale if isinstance(self.guidance_scale, list | tuple) else [self.guidance_scale]
        if not len(guides) or not len(scales) or not all(isinstance(scale, Real) for scale in scales):
            raise InputError(
                f"guide and guidance_scale need at least one guide and one number, not {self.guide!r} and "
                f"{self.guidance_scale!r}."
            )
        if len(scales) > self.candidates > 0:
            raise InputError(f"{len(scales)} guidance scales need as many candidates, not {self.candidates}.")
        if self.candidates > 1 and self.selection == "guide" and self.guide is None:
            raise InputError("the selection 'guide' needs a guide, such as guide='cost_to_go'.")
