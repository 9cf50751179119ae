"""The agent: one Diffusion Forcing model as policy and planner at once, in a receding-horizon loop (§3.4)."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from dfplan.agents.config import GOAL_GUIDES, PlannerConfig
from dfplan.agents.controllers import CONTROLLERS
from dfplan.agents.seeds import Seeds, episode_seeds
from dfplan.checkpoint import FILE_NAME, find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.devices import find_device
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError, unknown_name
from dfplan.noise import draw_noise
from dfplan.sampler import Guidance, sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import FIRST_PLANNED, GOAL, START


@dataclass(frozen=True)
class Plan:
    """What the agent intends, in environment units; without the batch axis when planned from a single observation.

    Attributes:
        observations: after each planned step.
        actions: of each planned step.
        rewards: about each planned observation.
        levels: of each step after the last sampling row; 0 is clean.
        rows: the plan as believed at each sampling row, if asked for: observations and the levels of each step.
    """

    observations: Float[np.ndarray, "*batch step observation"]
    actions: Float[np.ndarray, "*batch step action"]
    rewards: Float[np.ndarray, "*batch step"]
    levels: Int[np.ndarray, " step"]
    rows: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


class DFPlanner:
    """Acts by planning with a Diffusion Forcing model, for one episode or a batch of them side by side."""

    def __init__(self, model: DiffusionForcing, config: PlannerConfig | None = None, info: dict | None = None):
        self.model, self.config, self.info = model, config or PlannerConfig(), info or {}
        self.reset()

    @classmethod
    def load(cls, name_or_path: str | Path, device: str = "auto", **settings) -> "DFPlanner":
        """Return the agent of a shipped checkpoint, a run's folder, or a file; ``settings`` are fields of
        ``PlannerConfig``.

        Raises:
            InputError: if there is no such checkpoint, device or setting, or the file is damaged.
        """
        unknown = settings.keys() - PlannerConfig.__dataclass_fields__.keys()
        if unknown:
            raise unknown_name("planner setting", min(unknown), PlannerConfig.__dataclass_fields__)
        model, info = load_checkpoint(find_checkpoint(name_or_path), find_device(device))
        return cls(model, PlannerConfig(**settings), info)

    def save(self, path: str | Path) -> None:
        """Write the checkpoint to a file (``*.safetensors``) or into a folder."""
        path = Path(path)
        save_checkpoint(path if path.suffix == ".safetensors" else path / FILE_NAME, self.model, self.info)

    @property
    def mode(self) -> str:
        """``planner`` or ``policy``; setting it drops the present plan."""
        return self.config.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self.config = replace(self.config, mode=mode)
        self._controller = None

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin an episode, or a batch of them.

        Args:
            goal: (goal,) or (batch, goal) in environment units; None plans without one, unless observations bring
                ``desired_goal``.
            seed: one integer, or one for each episode; episode i of a batch draws from ``seed + i`` when one is given
                for all.
            num_steps: length of the episodes, beyond which nothing is planned.
        """
        self._goal = None if goal is None else self._checked(goal, self.model.config.goal_dim, "goal")
        self._seed, self._streams = seed, None
        self._num_steps, self._step = num_steps, 0
        self._controller, self._steps_to_replanning = None, 0
        self.plan_seconds: list[float] = []

    def act(self, observation) -> Float[np.ndarray, "*batch action"]:
        """Return the action for an observation (observation,), or actions for a batch (batch, observation).

        Raises:
            InputError: if the observation has another size than the model's, is not finite, or the batch changed
                since ``reset``.
        """
        observations, single = self._observe(observation)
        if self._controller is None or self._steps_to_replanning == 0:
            plan = self._timed_plan(observations)
            self._controller = CONTROLLERS[self.config.controller](plan.observations, plan.actions)
            self._steps_to_replanning = min(self.config.open_loop_horizon, plan.actions.shape[1])
        self._steps_to_replanning -= 1
        self._step += 1
        actions = self._controller.act(observations).astype(np.float32)
        return actions[0] if single else actions

    def plan(self, observation, horizon: int | None = None, keep_rows: bool = False) -> Plan:
        """Return the plan that ``act`` would make now, without acting on it.

        Args:
            observation: as in ``act``.
            horizon: steps to plan, rounded up to whole tokens; None for the configuration's.
            keep_rows: whether to keep what is believed at each sampling row, for pictures.
        """
        observations, single = self._observe(observation)
        # Copies: looking at a plan moves no random stream of the episode.
        streams = [torch.Generator().set_state(stream.get_state()) for stream in self._streams]
        plan = self._plan(observations, self._num_tokens(horizon), streams, keep_rows)
        if not single:
            return plan
        rows = [(positions[0], levels) for positions, levels in plan.rows]
        return Plan(plan.observations[0], plan.actions[0], plan.rewards[0], plan.levels, rows)

    def _timed_plan(self, observations: np.ndarray) -> Plan:
        start = time.perf_counter()
        plan = self._plan(observations, self._num_tokens(), self._streams)
        self.plan_seconds.append(time.perf_counter() - start)
        return plan

    def _num_tokens(self, horizon: int | None = None) -> int:
        """Tokens to plan: one for the policy; no more than the model knows, or are left of the episode."""
        model = self.model.config
        if horizon is None:
            horizon = 1 if self.config.mode == "policy" else self.config.horizon or model.horizon
        if not 1 <= horizon <= model.horizon:
            raise InputError(f"a horizon of {horizon} steps does not fit the model's 1 to {model.horizon}.")
        if self._num_steps is not None:
            horizon = max(1, min(horizon, self._num_steps - self._step))
        return math.ceil(horizon / model.frame_stack)

    @torch.no_grad()
    def _plan(
        self,
        observations: Float[np.ndarray, "batch observation"],
        num_tokens: int,
        streams: list[torch.Generator],
        keep_rows: bool = False,
    ) -> Plan:
        model, rows, steps = self.model, [], num_tokens * self.model.config.frame_stack
        tokens, matrix = self._first_row(observations, num_tokens, streams)
        on_row = (lambda x0, levels: rows.append(self._row(x0, levels))) if keep_rows else None
        tokens = sample(model, tokens, matrix, streams, self._guidance(), on_row)
        if not torch.isfinite(tokens).all():
            raise InputError(f"the plan is not finite; choose a guidance_scale below {self.config.guidance_scale}.")
        if keep_rows:
            rows.append(self._row(tokens, matrix[-1]))
            rows = [(observations[:, :steps], levels[:steps]) for observations, levels in rows]
        planned = model.codec.decode(tokens[:, FIRST_PLANNED : FIRST_PLANNED + num_tokens])
        levels = self._step_levels(matrix[-1])[:steps]
        arrays = (tensor.cpu().numpy() for tensor in (planned.observations, planned.actions, planned.rewards, levels))
        return Plan(*arrays, rows)

    def _first_row(self, observations: np.ndarray, num_tokens: int, streams) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sequences before sampling, and the scheduling matrix over [goal, start, tokens].

        The observation is scaled to the level at which it is believed; its own error stands in for that level's noise.
        """
        matrix = self._matrix(num_tokens)
        codec, config = self.model.codec, self.model.config
        tokens = draw_noise((matrix.shape[1], config.token_dim), streams, matrix.device)
        tokens = tokens * codec.used_channels(config.num_tokens)
        if matrix[0, GOAL] == 0:
            tokens[:, GOAL] = codec.encode_goal(self._tensor(self._goal))[:, 0]
        signal = self.model.alpha_bar[matrix[0, START]].sqrt()
        tokens[:, START] = signal * codec.encode_start(self._tensor(observations))[:, 0]
        return tokens, matrix

    def _matrix(self, num_tokens: int) -> torch.Tensor:
        """Return the levels (row, time) of [goal, start, tokens]; the first two keep theirs.

        The sequence is as long as in training: what lies beyond the horizon is masked by the last level (App. C.1).
        """
        config, num_levels = self.config, self.model.config.num_levels
        planned = scheduling_matrix(
            config.schedule, num_tokens, config.sampling_steps, num_levels, config.uncertainty_scale
        )
        known = torch.empty(len(planned), FIRST_PLANNED, dtype=torch.long)
        known[:, GOAL] = 0 if self._goal is not None and config.goal_token else num_levels
        known[:, START] = round(config.observation_level * num_levels)
        beyond = torch.full((len(planned), self.model.config.num_tokens - num_tokens), num_levels)
        return torch.cat([known, planned, beyond], dim=1).to(self.model.alpha_bar.device)

    def _guidance(self) -> Guidance:
        config, guide = self.config, self.config.guide
        if isinstance(guide, str):
            if self._goal is None:
                raise InputError(f"the guide {guide!r} needs a goal: reset(goal=...).")
            guide = GOAL_GUIDES[guide](self._tensor(self._goal), self.model.config.frame_stack)
        return Guidance(guide, config.guidance_scale, config.num_futures, config.goal_strength)

    def _row(self, tokens: torch.Tensor, levels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        observations = self.model.codec.decode(tokens[:, FIRST_PLANNED:]).observations
        return observations.cpu().numpy(), self._step_levels(levels).cpu().numpy()

    def _step_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return the level of each environment step behind the start, from those of the tokens."""
        return levels[FIRST_PLANNED:].repeat_interleave(self.model.config.frame_stack)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.model.alpha_bar.device)

    def _observe(self, observation) -> tuple[Float[np.ndarray, "batch observation"], bool]:
        """Return checked observations with a batch axis, and whether it was added; take up a dictionary's goal."""
        if isinstance(observation, Mapping):
            missing = {"observation", "desired_goal"} - observation.keys()
            if missing:
                raise InputError(f"the observation's dictionary lacks {' and '.join(sorted(missing))}.")
            goal = self._checked(observation["desired_goal"], self.model.config.goal_dim, "desired_goal")
            if self._goal is None or not np.array_equal(goal, self._goal):
                self._goal, self._controller = goal, None
            observation = observation["observation"]
        single = np.ndim(observation) == 1
        observations = self._checked(observation, self.model.config.observation_dim, "observation")
        self._prepare(len(observations))
        return observations, single

    def _prepare(self, batch: int) -> None:
        """Make one random stream per episode after a ``reset``, and see that goals and seeds are as many."""
        if self._streams is None:
            self._streams = [torch.Generator().manual_seed(seed) for seed in episode_seeds(self._seed, batch)]
        if self._goal is not None and len(self._goal) == 1 < batch:
            self._goal = np.repeat(self._goal, batch, axis=0)
        for name, given in (("seeds", self._streams), ("goals", self._goal)):
            if given is not None and len(given) != batch:
                number = f"{batch} observations do not fit {len(given)} {name}"
                raise InputError(f"{number}; call reset() when the batch changes.")

    def _checked(self, value, size: int, name: str) -> Float[np.ndarray, "batch channel"]:
        """Return ``value`` as a finite array (batch, size)."""
        try:
            array = np.atleast_2d(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise InputError(f"the {name} is not an array of numbers.") from error
        if array.ndim != 2 or array.shape[1] != size or not len(array):
            raise InputError(
                f"this checkpoint expects {name}s of shape ({size},) or (batch, {size}), not {np.shape(value)}."
            )
        if not np.isfinite(array).all():
            raise InputError(f"the {name} holds a value that is not finite.")
        return array
