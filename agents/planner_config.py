"""The settings of the planner: how it samples, is guided, executes plans, and believes observations.

``dfplan.agents.presets`` has named sets of settings.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from dfplan.agents.candidates import SELECTIONS, Selection
from dfplan.agents.controllers import CONTROLLERS, LOOKAHEAD, MOTION_CONTROLLERS
from dfplan.agents.named_guides import BY_COST, GUIDE_NAMES, find_way_points, list_guides
from dfplan.agents.observations import check_share
from dfplan.ground.errors import InputError, choose, unknown_name
from dfplan.model.noise import SOLVERS
from dfplan.sampling.guides import KeepOut, WayPoint
from dfplan.sampling.schedules import SCHEDULES

MODES = ("planner", "policy")


@dataclass(frozen=True)
class SamplingSettings:
    """How plans are drawn.

    Attributes:
        horizon: steps to plan; None for the longest plan of the model. A plan never reaches beyond the episode.
        sampling_steps: denoising steps of each token.
        solver: what a denoising step aims at, a name in ``dfplan.model.noise.SOLVERS``.
        schedule: a name in ``dfplan.sampling.schedules.SCHEDULES``, or an array (row, token) of levels.
        uncertainty_scale: sampling steps by which a token lags behind its predecessor, in schedules that use it.
        warm_start: level, as a share of K, from which the rest of the last plan is denoised again; None begins each
            plan from pure noise. Rows of the schedule above that level are left out.
        candidates: plans made for each decision, of which the best is followed.
        selection: which candidate is the best: a name in ``dfplan.agents.candidates.SELECTIONS``, or a function that
            takes the candidates as one ``Plan`` and returns one score for each, higher is better, or None for the
            selection that suits the task (``dfplan.agents.candidates.default_selection``).
    """

    horizon: int | None = None
    sampling_steps: int = 3
    solver: str = "ddim"
    schedule: str | np.ndarray | torch.Tensor = "full_sequence"
    uncertainty_scale: float = 1.0
    warm_start: float | None = None
    candidates: int = 1
    selection: str | Callable | None = None

    def __post_init__(self):
        if isinstance(self.schedule, np.ndarray | torch.Tensor):  # a copy: the caller may use its memory again
            object.__setattr__(self, "schedule", torch.as_tensor(self.schedule).clone())
        choose("solver", self.solver, SOLVERS)
        _check_name_or_function("selection", self.selection, SELECTIONS)
        if isinstance(self.schedule, str):
            choose("schedule", self.schedule, SCHEDULES)
        if not self.uncertainty_scale >= 0:
            raise InputError(f"uncertainty_scale must be at least 0, not {self.uncertainty_scale}.")
        _check_counts(self, ("sampling_steps", "candidates"))
        _check_steps(self, ("horizon",))
        if self.warm_start is not None and not check_share(self.warm_start, "warm_start"):
            raise InputError("warm_start must be above 0: a last plan without noise would never change.")


@dataclass(frozen=True)
class GuidanceSettings:
    """What steers plans.

    Attributes:
        goal_token: whether the goal is given to the model as a token; otherwise only guidance knows the goal, as in the
            paper.
        subgoal: steps ahead at which the goal token stands, on the cheapest way to the goal that the recording knows
            (``dfplan.data.cost_to_go``), so that plans need not reach the goal; None for the goal itself.
        goal_strength: classifier-free strength of the goal token.
        in_paint_goal: whether the plan's last token must stand still at the goal (Diffuser, App. C.1).
        guide: None, or a name in ``dfplan.agents.named_guides.GUIDE_NAMES``, or a callable that scores plans (see
            ``dfplan.sampling.guides``), or a tuple of these, whose scores are added. Together with ``cost_to_go`` there
            may be ``WayPoint``s, which are passed before the goal.
        guidance_scale: factor on the gradient of the guide; a tuple has the scales of the candidates in turn. With 0
            the guide steers no plan, and only the selection ``guide`` uses it.
        max_shift: largest change of a token by guidance in one row, in standard deviations of the data (see
            ``dfplan.sampling.guidance.Guidance``); None for no limit.
        num_futures: N of Monte-Carlo guidance.
        future_steps: denoising steps of each future before the guide scores it. With 1 the futures of a token that is
            followed by pure noise are nearly the mean future.
    """

    goal_token: bool = True
    subgoal: int | None = None
    goal_strength: float = 1.0
    in_paint_goal: bool = False
    guide: object = None
    guidance_scale: float | tuple[float, ...] = 1.0
    max_shift: float | None = None
    num_futures: int = 1
    future_steps: int = 1

    def __post_init__(self):
        self._check_guides()
        _check_steps(self, ("subgoal",))
        if self.subgoal is not None and not self.goal_token:
            raise InputError(f"subgoal={self.subgoal} says where the goal token stands, so it needs goal_token=True.")
        if self.subgoal is not None and any(isinstance(one, KeepOut | WayPoint) for one in list_guides(self.guide)):
            raise InputError("sub-goals know of no discs and way points; leave out subgoal, or these guides.")
        if self.max_shift is not None and not self.max_shift > 0:
            raise InputError(f"max_shift must be above 0 standard deviations, or None, not {self.max_shift}.")
        _check_counts(self, ("num_futures", "future_steps"))

    @property
    def scales(self) -> Sequence[float]:
        """The guidance scales, one or several."""
        return self.guidance_scale if isinstance(self.guidance_scale, list | tuple) else [self.guidance_scale]

    def _check_guides(self) -> None:
        """Raise ``InputError`` for a guide that is neither a name nor callable, or scales that are not numbers."""
        guides = list_guides(self.guide)
        for guide in guides:
            if isinstance(guide, str):
                if guide not in GUIDE_NAMES:
                    raise unknown_name("guide", guide, GUIDE_NAMES)
            elif not (callable(guide) or isinstance(guide, WayPoint) or self.guide is None):
                raise InputError(
                    f"a guide must be a name, a callable or a WayPoint, or a tuple of them, not {guide!r}."
                )
        if find_way_points(self.guide) and BY_COST not in guides:
            raise InputError(f"a way point stands beside guide={BY_COST!r}, which knows the ways to it.")
        if not len(guides) or not len(self.scales) or not all(map(_is_finite_number, self.scales)):
            raise InputError(
                f"guide and guidance_scale need at least one guide and one finite number, not {self.guide!r} and "
                f"{self.guidance_scale!r}."
            )
        names = [guide for guide in guides if isinstance(guide, str)]
        if len(set(names)) < len(names):
            raise InputError(f"guides must be different, not {self.guide!r}; guidance_scale makes them stronger.")


@dataclass(frozen=True)
class ExecutionSettings:
    """How plans become actions.

    Attributes:
        controller: what turns a plan into actions: a name in ``dfplan.agents.controllers.CONTROLLERS``, or a function
            as ``dfplan.agents.controllers.Custom`` takes it, or None for the controller that suits the task.
        hold: whether a PD law holds the end of a plan once the plan stands still there, whatever the controller.
        open_loop_horizon: steps that are executed before the next plan, at most the plan's length; None plans once.
            After the end of that plan the controllers that track it hold its last state, and ``diffused`` repeats its
            last action.
        replan_error: distance of the observed position from the planned one, in environment units, beyond which a new
            plan is made early; None follows each plan to its time. Each episode of a batch decides for itself.
        pursuit_lookahead: steps of the plan by which the controller ``pursuit`` aims ahead.
    """

    controller: str | Callable | None = None
    hold: bool = False
    open_loop_horizon: int | None = 10
    replan_error: float | None = None
    pursuit_lookahead: int = LOOKAHEAD

    def __post_init__(self):
        _check_name_or_function("controller", self.controller, CONTROLLERS)
        _check_counts(self, ("pursuit_lookahead",))
        _check_steps(self, ("open_loop_horizon",))
        if self.replan_error is not None and not self.replan_error > 0:
            raise InputError(f"replan_error must be a distance above 0, not {self.replan_error}.")


@dataclass(frozen=True)
class ObservationSettings:
    """What the model is shown of the episode, and how far it is believed.

    Attributes:
        observation_level: level at which observations are shown to the model, as a share of K: 0 trusts them entirely,
            a small level keeps long roll-outs stable (§3.3, k_small of App. C.4). ``DFPlanner.act`` may be told another
            level for a single observation (§4.4).
        history: tokens of executed history that the model is shown at most; 0 is memoryless (§4.4). The history grows
            from none at ``reset``, in whole tokens, and takes its room from the longest plan.
    """

    observation_level: float = 0.0
    history: int = 0

    def __post_init__(self):
        check_share(self.observation_level, "observation_level")
        if not isinstance(self.history, int) or self.history < 0:
            raise InputError(f"history must be a whole number of tokens, 0 or more, not {self.history}.")


PARTS = {
    "sampling": SamplingSettings,
    "guidance": GuidanceSettings,
    "execution": ExecutionSettings,
    "observation": ObservationSettings,
}
# The name of every single setting -> the part that it belongs to.
PART_OF = {field.name: part for part, kind in PARTS.items() for field in fields(kind)}
SETTINGS = ("mode", *PART_OF)


@dataclass(frozen=True, init=False)
class PlannerConfig:
    """How the agent decides; every setting may be changed between episodes without retraining.

    Each single setting is a keyword: ``PlannerConfig(controller="pd", horizon=80)``, and so in ``DFPlanner.load`` and
    ``dataclasses.replace``. It is read from its part: ``config.execution.controller``.

    With the defaults of this class the model is told its goal by a token. ``DFPlanner.load`` chooses defaults that suit
    the checkpoint (``dfplan.agents.presets.config_for``).

    Attributes:
        mode: ``planner`` plans a horizon, ``policy`` one token.
        sampling: how plans are drawn.
        guidance: what steers them.
        execution: how they become actions.
        observation: what the model is shown of the episode.

    Raises:
        InputError: if a name is unknown, a number is out of range, or settings contradict each other.
    """

    mode: str
    sampling: SamplingSettings
    guidance: GuidanceSettings
    execution: ExecutionSettings
    observation: ObservationSettings

    def __init__(self, mode: str = "planner", **settings: Any):
        unknown = settings.keys() - PART_OF.keys() - PARTS.keys()
        if unknown:
            raise unknown_name("planner setting", min(unknown), SETTINGS)
        object.__setattr__(self, "mode", mode)
        for name, kind in PARTS.items():
            own = {setting: value for setting, value in settings.items() if PART_OF.get(setting) == name}
            object.__setattr__(self, name, replace(settings[name], **own) if name in settings else kind(**own))
        self._check()

    def change(self, **settings: Any) -> "PlannerConfig":
        """Return this config with other single settings."""
        return replace(self, **settings)

    @property
    def settings(self) -> dict[str, Any]:
        """Every single setting by its name."""
        parts = (asdict(getattr(self, name)) for name in PARTS)
        return {"mode": self.mode} | {name: value for part in parts for name, value in part.items()}

    @property
    def motion_setting(self) -> str | None:
        """The first setting, if any, that takes an observation as a position and the velocity of that position."""
        execution, sampling, selection = self.execution, self.sampling, self._find_selection()
        readers = {
            f"controller={execution.controller!r}": execution.controller in MOTION_CONTROLLERS,
            "hold=True": execution.hold,
            f"replan_error={execution.replan_error}": execution.replan_error is not None,
            f"selection={sampling.selection!r}": selection is not None and selection.needs_motion,
        }
        return next((setting for setting, reads in readers.items() if reads), None)

    @property
    def goal_setting(self) -> str | None:
        """The first setting, if any, that needs a goal, apart from guides."""
        sampling, selection = self.sampling, self._find_selection()
        readers = {
            "in_paint_goal=True": self.guidance.in_paint_goal,
            f"selection={sampling.selection!r}": selection is not None and selection.needs_goal,
        }
        return next((setting for setting, reads in readers.items() if reads), None)

    def _find_selection(self) -> Selection | None:
        """Return the named selection that chooses among several candidates; None for a function or one candidate."""
        name = self.sampling.selection
        return SELECTIONS[name] if self.sampling.candidates > 1 and isinstance(name, str) else None

    def _check(self) -> None:
        """Raise ``InputError`` if the mode is unknown or settings of different parts contradict each other."""
        sampling, guidance, execution, history = self.sampling, self.guidance, self.execution, self.observation.history
        if self.mode not in MODES:
            raise unknown_name("mode", self.mode, MODES)
        if execution.replan_error is not None and history:
            raise InputError(
                f"a history of {history} tokens needs plans made together; leave out replan_error "
                f"({execution.replan_error}), by which each episode plans when it needs to."
            )
        if self.mode == "policy" and (guidance.in_paint_goal or execution.open_loop_horizon is None):
            raise InputError("a policy plans one token: neither in_paint_goal nor open_loop_horizon=None fits it.")
        if len(guidance.scales) > sampling.candidates:
            scales = f"{len(guidance.scales)} guidance scales"
            raise InputError(f"{scales} need as many candidates, not {sampling.candidates}.")
        if sampling.candidates > 1 and sampling.selection == "guide" and guidance.guide is None:
            raise InputError("the selection 'guide' needs a guide, such as guide='cost_to_go'.")


def _is_finite_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _check_name_or_function(setting: str, chosen: object, names: Mapping[str, object]) -> None:
    """Raise ``InputError`` unless a setting is None, a function, or one of the known names."""
    if chosen is not None and not callable(chosen):
        choose(setting, str(chosen), names)


def _check_counts(part: object, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(part, name)
        if not isinstance(value, Integral) or int(value) < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}.")


def _check_steps(part: object, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(part, name)
        if value is not None and not (isinstance(value, Integral) and int(value) >= 1):
            raise InputError(f"{name} must be a whole number of at least 1 step, not {value!r}.")
