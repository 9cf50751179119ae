"""The agent: one Diffusion Forcing model as policy and planner at once, in a receding-horizon loop (§3.4)."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dfplan.agents.candidates import best_of
from dfplan.agents.config import PlannerConfig
from dfplan.agents.executions import Episodes, Execution, Executions
from dfplan.agents.guides import check_guide, count_passed, make_guide
from dfplan.agents.history import Belief, History, Past, Recollection
from dfplan.agents.observations import checked, checked_share, unpacked
from dfplan.agents.plans import Plan
from dfplan.agents.presets import POLICY, config_for
from dfplan.agents.seeds import Seeds, episode_seeds, own_seeds
from dfplan.agents.sequence import first_row, guidance_of, level_matrix, num_known
from dfplan.agents.warm_start import warm_start
from dfplan.checkpoint import FILE_NAME, find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.devices import find_device
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError, unknown_name
from dfplan.guidance import Guide
from dfplan.memory import Memory
from dfplan.sampler import sample
from dfplan.tokens import FIRST_PLANNED, START

Observations = Float[np.ndarray, "batch observation"]
Goals = Float[np.ndarray, "batch goal"] | None


class DFPlanner:
    """Acts by planning with a Diffusion Forcing model, for one episode or a batch of them side by side.

    One model is policy and planner (§3.4). With ``history`` it plans on from the tokens that it has executed (Alg. 2),
    and it is told how far each observation is to be believed (§3.3, §4.4).

    What it is given is copied, and what it returns is the caller's own. A call that raises an error changes nothing.

    Attributes:
        model: predicts clean tokens.
        config: how to decide; a change takes effect at ``reset``, that of ``mode`` at once.
        info: where the model comes from.
        checkpoint: the file that it was loaded from, if any.
        plan_seconds: wall seconds of each planning call of the episode.
    """

    def __init__(self, model: DiffusionForcing, config: PlannerConfig | None = None, info: dict | None = None):
        self.model, self.config, self.info = model, config or PlannerConfig(), info or {}
        self.checkpoint: Path | None = None
        self._modes: tuple[PlannerConfig | None, PlannerConfig | None] = None, None  # before and after mode = "policy"
        self.reset()

    @classmethod
    def load(cls, name_or_path: str | Path, device: str = "auto", **settings) -> "DFPlanner":
        """Return the agent of a shipped checkpoint, a run's folder, or a file.

        ``settings`` are fields of ``PlannerConfig``; those left out are the ones that suit the checkpoint
        (``dfplan.agents.presets.config_for``).

        Raises:
            InputError: if there is no such checkpoint, device or setting, or the file is damaged.
        """
        unknown = settings.keys() - PlannerConfig.__dataclass_fields__.keys()
        if unknown:
            raise unknown_name("planner setting", min(unknown), PlannerConfig.__dataclass_fields__)
        file = find_checkpoint(name_or_path)
        model, info = load_checkpoint(file, find_device(device))
        config = config_for(model, info.get("demonstrations", "recorded"), **settings)
        agent = cls(model, config, info)
        agent.checkpoint = file
        return agent

    def save(self, path: str | Path) -> None:
        """Write the checkpoint to a file (``*.safetensors``) or into a folder."""
        path = Path(path)
        save_checkpoint(path if path.suffix == ".safetensors" else path / FILE_NAME, self.model, self.info)

    @property
    def mode(self) -> str:
        """``planner`` or ``policy``; setting it drops the present plan.

        A planner that becomes a policy has the settings ``dfplan.agents.presets.POLICY``; it has its own again when it
        becomes a planner again.
        """
        return self.config.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        as_planner, as_policy = self._modes
        if mode == "policy" and self.config.mode == "planner":
            self._modes = self.config, replace(self.config, **POLICY)
            self.config = self._modes[1]
        elif mode == "planner" and self.config is as_policy:
            self.config = as_planner
        else:
            self.config = replace(self.config, mode=mode)
        self._executions = Executions()

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin an episode, or a batch of them.

        Args:
            goal: (goal,) or (batch, goal) in environment units; None plans without one, unless observations bring
                ``desired_goal``.
            seed: one integer, or one for each episode; episode i of a batch draws from ``seed + i`` when one is given
                for all.
            num_steps: length of the episodes, beyond which nothing is planned.

        Raises:
            InputError: if the goal is no array of its size, the history leaves the plan no room, or a setting needs
                observations of another kind or another model.
        """
        model, history = self.model.config, self.config.history
        self._check_motion()
        check_guide(self.config.guide, self.model)
        if history >= model.num_tokens:
            raise InputError(f"a history of {history} tokens leaves a model of {model.num_tokens} no room for a plan.")
        self._goal = None if goal is None else checked(goal, model.goal_dim, "goal")
        self._seed, self._streams = own_seeds(seed), None
        self._num_steps, self._step = num_steps, 0
        self._executions = Executions()
        self._history, self._recollection = History(history, model.frame_stack), Recollection()
        self._passed: np.ndarray | None = None  # way points that each episode has passed
        self.plan_seconds: list[float] = []

    def act(self, observation, observation_level: float | int | None = None) -> Float[np.ndarray, "*batch action"]:
        """Return the action for an observation (observation,), or actions for a batch (batch, observation).

        Args:
            observation: what is seen now.
            observation_level: the level at which it is believed, as a share of K (§4.4): 0 trusts it, more says how
                noisy it is, and the model infers what it really was together with the plan; 1 says that it is missing,
                and its finite values play no part. Above 0 the plan's own action is executed, on the model's
                belief, instead of a controller's answer to what is seen. None is the configuration's level, which
                stays as it is.

        Raises:
            InputError: if the observation has another size than the model's, is not finite, or the batch changed
                since ``reset``, or the level is not in [0, 1], or the plan or an action is not finite.
        """
        belief = self._belief(observation_level)
        with self._undone():
            observations, single = self._observe(observation, belief)
            due = self._executions.due(observations, belief.doubted)
            if len(due):
                self._executions.add(Execution(self._timed_plan(observations, belief, due), self.config, due))
            actions, rewards = self._executions.act(observations, belief.doubted)
            if not np.isfinite(actions).all():
                raise InputError(f"an action is not finite; choose another controller than {self.config.controller!r}.")
        self._history.record(observations, belief, actions, rewards)
        self._step += 1
        return actions[0].copy() if single else actions.copy()

    def plan(
        self,
        observation,
        horizon: int | None = None,
        keep_rows: bool = False,
        observation_level: float | int | None = None,
    ) -> Plan:
        """Return the plan that ``act`` would make now, without acting on it.

        Args:
            observation: as in ``act``.
            horizon: steps to plan, rounded up to whole tokens; None for the configuration's.
            keep_rows: whether to keep what is believed at each sampling row, for pictures.
            observation_level: as in ``act``.
        """
        belief = self._belief(observation_level)
        with self._undone(in_any_case=True):
            observations, single = self._observe(observation, belief)
            everybody = np.arange(len(observations))
            plan = self._plan(observations, belief, everybody, self._num_tokens(horizon), keep_rows)
        return plan.first() if single else plan

    def _check_motion(self) -> None:
        """Raise ``InputError`` if a setting reads motion from observations that are no positions and velocities."""
        model, setting = self.model.config, self.config.reads_motion
        if setting and model.observation_dim != 2 * model.action_dim:
            raise InputError(
                f"{setting} takes an observation for a position and its velocity along the axes of the action, but "
                f"this model has {model.observation_dim} channels of observation and {model.action_dim} of action; "
                f"controller='diffused' executes the plan's own actions, whatever an observation is."
            )

    @contextmanager
    def _undone(self, in_any_case: bool = False) -> Iterator[None]:
        """Undo what the block changes in the episode if it fails, or in any case.

        The block may replace what these attributes hold, but not change it. Only executions are changed, so they are
        copied first.
        """
        attributes = ("_goal", "_streams", "_executions", "_recollection", "_passed", "plan_seconds")
        before, undo = {name: getattr(self, name) for name in attributes}, True
        self._executions = self._executions.copied()
        try:
            yield
            undo = in_any_case
        finally:
            if undo:
                vars(self).update(before)

    def _belief(self, observation_level: float | int | None) -> Belief:
        if observation_level is None:
            return Belief(self.config.observation_level)
        return Belief(checked_share(observation_level, "observation_level"), inferred=True)

    def _timed_plan(self, observations: Observations, belief: Belief, episodes: Episodes) -> Plan:
        start = time.perf_counter()
        plan = self._plan(observations, belief, episodes, self._num_tokens())
        self.plan_seconds = [*self.plan_seconds, time.perf_counter() - start]
        return plan

    def _num_tokens(self, horizon: int | None = None) -> int:
        """Tokens to plan: one for the policy; no more than fit beside the history, or are left of the episode."""
        model = self.model.config
        if horizon is None:
            horizon = 1 if self.config.mode == "policy" else self.config.horizon or model.horizon
        if not 1 <= horizon <= model.horizon:
            raise InputError(f"a horizon of {horizon} steps does not fit the model's 1 to {model.horizon}.")
        if self._num_steps is not None:
            horizon = max(1, min(horizon, self._num_steps - self._step))
        return min(math.ceil(horizon / model.frame_stack), model.num_tokens - self._history.num_tokens)

    @torch.no_grad()
    def _plan(
        self,
        observations: Observations,
        belief: Belief,
        episodes: Episodes,
        num_tokens: int,
        keep_rows: bool = False,
    ) -> Plan:
        """Return the plans of some episodes of the batch, each the best of its candidates, all made in one batch."""
        config, rest = self.config, None
        # Copies go on, so that ``_undone`` finds the old ones as they were.
        self._streams = [torch.Generator().set_state(stream.get_state()) for stream in self._streams]
        self._recollection = copy(self._recollection)
        episodes = np.repeat(episodes, config.candidates)
        past = self._history.window(observations, belief).of(episodes)
        goals = None if self._goal is None else self._goal[episodes]
        if config.warm_start is not None and self._executions.running:
            num_steps = num_tokens * self.model.config.frame_stack
            rest = [part[episodes] for part in self._executions.rest(observations, belief.doubted, num_steps)]
        streams = [self._streams[episode] for episode in episodes]
        device = self.model.alpha_bar.device
        goal = None if goals is None else torch.as_tensor(goals, dtype=torch.float32, device=device)
        passed = None if self._passed is None else self._passed[episodes]
        starts = observations[episodes, : self.model.config.goal_dim]
        start = None if belief.doubted else torch.as_tensor(starts, dtype=torch.float32, device=device)
        guide = make_guide(config.guide, self.model, goal, passed, start)
        plan = self._sampled(past, goal, guide, rest, num_tokens, streams, keep_rows)
        if config.candidates == 1:
            return plan
        return best_of(plan, goals, config.candidates, config.selection, guide, self.model)

    def _sampled(
        self,
        past: Past,
        goal: torch.Tensor | None,
        guide: Guide | None,
        rest: list[np.ndarray] | None,
        num_tokens: int,
        streams: list[torch.Generator],
        keep_rows: bool,
    ) -> Plan:
        """Return plans that go on from ``past``, begun from the ``rest`` of the last ones if there is any."""
        model, rows = self.model, []
        first = FIRST_PLANNED + past.num_tokens
        planned = slice(first, first + num_tokens)
        matrix, tokens = self._question(past, goal, num_tokens, streams)
        if rest is not None:
            matrix, tokens = warm_start(model, matrix, tokens, planned, rest, self.config.warm_start)
        guidance = guidance_of(self.config, model, goal, guide, planned, len(tokens))
        on_row = (lambda x0, levels: rows.append(self._row(x0, levels, planned))) if keep_rows else None
        memory = self._memory(tokens, matrix, first)
        tokens = sample(model, tokens, matrix, streams, guidance, on_row, memory)
        if keep_rows:
            rows.append(self._row(tokens, matrix[-1], planned))
        steps = model.codec.decode(tokens[:, planned])
        levels = self._step_levels(matrix[-1], planned)
        parts = (steps.observations, steps.actions, steps.rewards, levels, self._present(tokens, past))
        if not all(torch.isfinite(part).all() for part in (tokens, *parts)):
            raise self._not_finite()
        return Plan(*(part.cpu().numpy() for part in parts), rows)

    def _not_finite(self) -> InputError:
        """Return the error for a plan that holds infinity or NaN."""
        if self.config.guide is not None:
            return InputError(f"the plan is not finite; choose a guidance_scale below {self.config.guidance_scale}.")
        return InputError(
            "the plan is not finite; check the units of observation and goal, or choose another checkpoint "
            f"or a goal_strength below {self.config.goal_strength}."
        )

    def _question(
        self, past: Past, goal: torch.Tensor | None, num_tokens: int, streams: list[torch.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scheduling matrix over [goal, start, history, plan, beyond], and the sequences before its first
        step.
        """
        model, device = self.model, self.model.alpha_bar.device
        goal_known = goal is not None and self.config.goal_token
        matrix = level_matrix(model.config, self.config, goal_known, past.beliefs, num_tokens).to(device)
        return matrix, first_row(model, matrix[0], goal, past, streams)

    def _memory(self, tokens: torch.Tensor, matrix: torch.Tensor, first_planned: int) -> Memory | None:
        """Return a causal model's memory of the history, which need not be looked at again in every plan (Alg. 2)."""
        if not (self.config.history and self.model.config.causal):
            return None
        known = slice(0, num_known(matrix, first_planned))
        return self._recollection.of(self.model, tokens[:, known], matrix[0, known], self.config.goal_strength)

    def _present(self, tokens: torch.Tensor, past: Past) -> torch.Tensor:
        """Return the observation of the present: what was inferred, or else as it was given."""
        codec = self.model.codec
        given = tokens[:, START : FIRST_PLANNED + past.num_tokens] if past.present.inferred else past.tokens(codec)
        if not past.num_tokens:
            return codec.decode_start(given[:, 0])
        return codec.decode(given[:, -1:]).observations[:, -1]

    def _row(self, tokens: torch.Tensor, levels: torch.Tensor, planned: slice) -> tuple[np.ndarray, np.ndarray]:
        observations = self.model.codec.decode(tokens[:, planned]).observations
        return observations.cpu().numpy(), self._step_levels(levels, planned).cpu().numpy()

    def _step_levels(self, levels: torch.Tensor, planned: slice) -> torch.Tensor:
        """Return the level of each planned environment step, from those of the tokens."""
        return levels[planned].repeat_interleave(self.model.config.frame_stack)

    def _observe(self, observation, belief: Belief) -> tuple[Observations, bool]:
        """Return checked observations with a batch axis, and whether it was added.

        Take up a dictionary's goal, and count the way points that are passed if the observation is to be trusted.
        """
        observation, goal = unpacked(observation)
        single = np.ndim(observation) == 1
        observations = checked(observation, self.model.config.observation_dim, "observation")
        if goal is not None:
            goal = checked(goal, self.model.config.goal_dim, "desired_goal")
        self._prepare(len(observations), goal)
        if not belief.doubted:
            self._passed = count_passed(self.config.guide, observations, self._passed)
        return observations, single

    def _prepare(self, batch: int, goal: Goals) -> None:
        """Take up a new goal, if there is one, and make one random stream per episode after a ``reset``.

        Nothing is changed before goals and seeds are known to be as many as observations.
        """
        goals, streams, executions = self._goal if goal is None else goal, self._streams, self._executions
        if streams is None:
            streams = [torch.Generator().manual_seed(seed) for seed in episode_seeds(self._seed, batch)]
        if goals is not None and len(goals) == 1 < batch:
            goals = np.repeat(goals, batch, axis=0)
        for name, given in (("seeds", streams), ("goals", goals)):
            if given is not None and len(given) != batch:
                number = f"{batch} observations do not fit {len(given)} {name}"
                raise InputError(f"{number}; call reset() when the batch changes.")
        if goal is not None and (self._goal is None or not np.array_equal(goals, self._goal)):
            executions = Executions()
        self._goal, self._streams, self._executions = goals, streams, executions
