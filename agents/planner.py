"""The agent: one Diffusion Forcing model as policy and planner at once, in a receding-horizon loop (§3.4)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from dfplan.agents.episode_states import EpisodeStates, Goals
from dfplan.agents.execution import Episodes, Execution, Executions
from dfplan.agents.history import Belief, History, HistoryMemory
from dfplan.agents.named_guides import BY_COST, check_guides, count_passed, list_guides, make_guide, warn_of_no_way
from dfplan.agents.observations import check_array, check_share, unpack_observation
from dfplan.agents.planner_config import SETTINGS, PlannerConfig
from dfplan.agents.planning import PlanRequest, make_plans, to_tensor
from dfplan.agents.plans import Plan
from dfplan.agents.presets import POLICY, config_for
from dfplan.agents.seeds import Episodes as Chosen
from dfplan.agents.seeds import Seeds, check_episodes, copy_seeds
from dfplan.ground.devices import find_device
from dfplan.ground.errors import InputError, unknown_name
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.task import Task, index_channels
from dfplan.training.checkpoint import FILE_NAME, find_checkpoint, load_checkpoint, save_checkpoint

Observations = Float[np.ndarray, "batch observation"]


class DFPlanner:
    """Acts by planning with a Diffusion Forcing model, for one episode or a batch of them side by side.

    The same model is policy and planner (§3.4). With ``history`` its plans continue the executed tokens (Alg. 2). It
    may be told how far each observation is to be believed (§3.3, §4.4).

    Arguments are copied, and returned arrays belong to the caller. A call that raises an error changes nothing.

    Attributes:
        model: predicts clean tokens.
        config: how to decide. A new configuration takes effect at ``reset``, a new ``mode`` immediately.
        info: where the model comes from.
        checkpoint: the file that the agent was loaded from, or None.
        plan_seconds: wall time of each planning call of the episode, in seconds.
    """

    def __init__(self, model: DiffusionForcing, config: PlannerConfig | None = None, info: dict | None = None):
        self.model, self.config, self.info = model, config or PlannerConfig(), info or {}
        self.checkpoint: Path | None = None
        self._modes: tuple[PlannerConfig | None, PlannerConfig | None] = None, None  # before and after mode = "policy"
        self.reset()

    @classmethod
    def load(cls, name_or_path: str | Path, device: str = "auto", **settings) -> "DFPlanner":
        """Return the agent of a shipped checkpoint, a run's folder, or a file.

        ``settings`` are single settings of ``PlannerConfig``. For all others the agent takes the values that suit the
        checkpoint (``dfplan.agents.presets.config_for``).

        Raises:
            InputError: if there is no such checkpoint, device or setting, or the file is damaged.
        """
        unknown = settings.keys() - set(SETTINGS)
        if unknown:
            raise unknown_name("planner setting", min(unknown), SETTINGS)
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
    def task(self) -> Task:
        """What the world is that the agent plans for."""
        return self.model.config.task

    @property
    def renews_episodes(self) -> bool:
        """Whether single episodes of a batch can begin anew: ``reset(episodes=...)``."""
        return not self.config.observation.history

    @property
    def mode(self) -> str:
        """``planner`` or ``policy``; setting it drops the present plan.

        When a planner becomes a policy, it takes the settings ``dfplan.agents.presets.POLICY``. When it becomes a
        planner again, it takes back its own settings.
        """
        return self.config.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        as_planner, as_policy = self._modes
        if mode == "policy" and self.config.mode == "planner":
            self._modes = self.config, replace(self.config, **POLICY)
            self.config = self._modes[1]
        elif mode == "planner" and self.config is as_policy and as_planner is not None:
            self.config = as_planner
        else:
            self.config = replace(self.config, mode=mode)
        self._executions = Executions()

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None, episodes: Chosen = None) -> None:
        """Begin an episode, or a batch of them, or some episodes of the present batch.

        Args:
            goal: (goal,) or (batch, goal) in environment units, or whole observations that hold the goal; None plans
                without a goal, unless the observations contain ``desired_goal``.
            seed: one integer for each episode, or a single one from which episode i gets ``seed + i``.
            num_steps: length of the episodes in steps; plans do not reach beyond it.
            episodes: numbers of the episodes of the batch that begin anew, or a mask over the batch; the others go on.
                ``goal`` and ``seed`` are those of these episodes. None begins a new batch.

        Raises:
            InputError: if the goal has another size than the model's goals, the history leaves no room for a plan, a
                setting needs other observations or another model, or episodes of a batch cannot begin anew.
        """
        goals = self._check_goal(goal, "goal")
        if episodes is not None:
            self._restart(episodes, goals, seed, num_steps)
            return
        model, history = self.model.config, self.config.observation.history
        self._check_motion()
        check_guides(self.config.guidance.guide, self.model)
        if history >= model.num_tokens:
            raise InputError(f"a history of {history} tokens leaves a model of {model.num_tokens} no room for a plan.")
        self._begun = goals, copy_seeds(seed), num_steps  # until the first observation tells the size of the batch
        self._episodes: EpisodeStates | None = None
        self._executions = Executions()
        self._history, self._memory = History(history, model.frame_stack), HistoryMemory()
        self.plan_seconds: list[float] = []

    def act(self, observation, observation_level: float | int | None = None) -> Float[np.ndarray, "*batch action"]:
        """Return the action for an observation (observation,), or the actions for a batch (batch, observation).

        The agent makes a new plan when the last one is due, and otherwise follows it:
        ``act`` -> ``make_plans`` -> ``sample`` -> ``predict`` -> the network.

        Args:
            observation: the present observation in environment units, or a dictionary with ``observation`` and
                ``desired_goal``, which is ignored for a task without a goal.
            observation_level: level at which the observation is believed, as a share of K (§4.4): 0 trusts it, a
                higher level says how noisy it is, and 1 says that it is missing, so that its values are ignored. Above
                0 the model infers the true observation together with the plan, and the plan's own action is executed
                instead of a controller's response. None uses the configuration's level without inference.

        Raises:
            InputError: if the observation has another size than the model's or is not finite, the batch has changed
                since ``reset``, the level is not in [0, 1], or a plan or an action is not finite.
        """
        belief = self._form_belief(observation_level)
        with self._undo_on_error():
            observations, single = self._observe(observation, belief)
            due = self._executions.find_due(observations, belief.doubted)
            if len(due):
                began = time.perf_counter()
                for num_tokens, planned in self._group_by_length(due):
                    request = self._request_plans(observations, belief, planned, num_tokens)
                    plan = make_plans(self.model, self.config, request)
                    self._executions.add(Execution(plan, self.config.execution, planned, self.task))
                self.plan_seconds = [*self.plan_seconds, time.perf_counter() - began]
            actions, rewards = self._executions.act(observations, belief.doubted)
            if not np.isfinite(actions).all():
                controller = self.config.execution.controller
                raise InputError(f"an action is not finite; choose another controller than {controller!r}.")
        self._history.record(observations, belief, actions, rewards)
        assert self._episodes is not None  # ``_observe`` has begun them
        self._episodes = self._episodes.advance()
        return actions[0].copy() if single else actions.copy()

    def plan(
        self,
        observation,
        horizon: int | None = None,
        keep_rows: bool = False,
        observation_level: float | int | None = None,
    ) -> Plan:
        """Return the plan that ``act`` would make now, without following it.

        Args:
            observation: as in ``act``.
            horizon: steps to plan, rounded up to whole tokens; None for the configuration's.
            keep_rows: whether to keep the predicted plan of every sampling row.
            observation_level: as in ``act``.

        Raises:
            InputError: as ``act``, and if the model does not know plans of that length.
        """
        belief = self._form_belief(observation_level)
        with self._undo():
            observations, single = self._observe(observation, belief)
            everybody = np.arange(len(observations))
            num_tokens = int(self._count_tokens(everybody, horizon).max())  # all plans are equally long
            request = self._request_plans(observations, belief, everybody, num_tokens, keep_rows)
            plan = make_plans(self.model, self.config, request)
        return plan.first() if single else plan

    def _restart(self, episodes: Sequence[int] | np.ndarray, goals: Goals, seed: Seeds, num_steps: int | None) -> None:
        """Begin some episodes of the batch anew. The others go on with their plans."""
        if self.config.observation.history:
            raise InputError("with a history the episodes of a batch begin together: call reset() without episodes.")
        states = self._episodes
        begun = check_episodes(episodes, None if states is None else states.batch)
        if not begun:
            return
        assert states is not None  # ``check_episodes`` has found a batch
        self._episodes = states.restart(begun, EpisodeStates.begin(len(begun), goals, copy_seeds(seed), num_steps))
        self._executions.drop(begun)

    def _check_motion(self) -> None:
        """Raise ``InputError`` if a setting needs observations of positions and velocities and the task names none."""
        setting = self.config.motion_setting
        if setting and not self.task.has_motion:
            raise InputError(
                f"{setting} needs a task that names the positions in observations, and velocities or step_length, "
                "and this model's does not; controller='diffused' executes the plan's own actions, whatever they are."
            )
        setting = self.config.goal_setting
        if setting and not self.task.goal:
            raise InputError(f"{setting} needs a goal, and the task of this model has none.")

    def _check_goal(self, goal: Any, name: str) -> Goals:
        """Return goals in environment units, with a batch axis.

        Raises:
            InputError: if the task has no goal, or a goal has another size or holds numbers that are not finite.
        """
        if goal is None:
            return None
        if not self.task.goal:
            raise InputError(f"the task of this model has no goal, so {name} cannot be given.")
        return check_array(self.task.take_goal(goal), self.task.goal_dim, name)

    def _copy_state(self) -> dict[str, Any]:
        """Return what ``act`` and ``plan`` may change in the episode.

        They assign new values to these attributes. Only executions are changed in place, so the agent goes on with a
        copy of them.
        """
        names = ("_episodes", "_executions", "_memory", "plan_seconds")
        state = {name: getattr(self, name) for name in names}
        self._executions = self._executions.copy()
        return state

    @contextmanager
    def _undo(self) -> Iterator[None]:
        """Undo at the end what the block has changed in the episode."""
        state = self._copy_state()
        try:
            yield
        finally:
            vars(self).update(state)

    @contextmanager
    def _undo_on_error(self) -> Iterator[None]:
        """Undo what the block has changed in the episode if it raises an error."""
        state = self._copy_state()
        try:
            yield
        except BaseException:
            vars(self).update(state)
            raise

    def _form_belief(self, observation_level: float | int | None) -> Belief:
        if observation_level is None:
            return Belief(self.config.observation.observation_level)
        return Belief(check_share(observation_level, "observation_level"), inferred=True)

    def _count_tokens(self, episodes: Episodes, horizon: int | None = None) -> Int[np.ndarray, " episode"]:
        """Return the tokens to plan for each of some episodes.

        It is one for a policy, at most those beside the history, and at most those in the rest of the episode.

        Raises:
            InputError: if the model does not know plans of that length.
        """
        model = self.model.config
        if horizon is None:
            horizon = 1 if self.config.mode == "policy" else self.config.sampling.horizon or model.horizon
        if not 1 <= horizon <= model.horizon:
            raise InputError(f"a horizon of {horizon} steps does not fit the model's 1 to {model.horizon}.")
        assert self._episodes is not None  # ``_observe`` has begun them
        steps = self._episodes.steps_left[episodes].clip(1, horizon)
        tokens = np.ceil(steps / model.frame_stack).astype(np.int64)
        return tokens.clip(max=model.num_tokens - self._history.num_tokens)

    def _group_by_length(self, episodes: Episodes) -> list[tuple[int, np.ndarray]]:
        """Return the episodes whose plans have the same number of tokens, and that number, for each number."""
        tokens = self._count_tokens(episodes)
        return [(int(number), episodes[tokens == number]) for number in np.unique(tokens)]

    def _request_plans(
        self, observations: Observations, belief: Belief, episodes: Episodes, num_tokens: int, keep_rows: bool = False
    ) -> PlanRequest:
        """Return the request for the candidate plans of some episodes of the batch."""
        sampling, guide = self.config.sampling, self.config.guidance.guide
        assert self._episodes is not None  # ``_observe`` has begun them
        # Copies are used from now on, so that ``_undo`` finds the old streams and memory unchanged.
        self._episodes = states = self._episodes.copy_streams()
        self._memory = copy(self._memory)
        final, steps = states.goals, self.config.guidance.subgoal
        # Values of a doubted observation are ignored, so its plans go to the goal itself.
        goals = final if steps is None or belief.doubted else self._find_subgoals(observations, episodes, final, steps)
        episodes = np.repeat(episodes, sampling.candidates)
        goals, final = (None if places is None else places[episodes] for places in (goals, final))
        passed = None if states.passed is None else states.passed[episodes]
        starts = None if belief.doubted else observations[episodes][:, index_channels(self.task.goal)]
        last_plan = None
        if sampling.warm_start is not None and self._executions.running:
            num_steps = num_tokens * self.model.config.frame_stack
            remaining = self._executions.get_remaining(observations, belief.doubted, num_steps)
            last_plan = [part[episodes] for part in remaining]
        return PlanRequest(
            window=self._history.cut_window(observations, belief).select(episodes),
            goals=goals,
            guide=make_guide(guide, self.model, to_tensor(final, self.model), passed, to_tensor(starts, self.model)),
            num_tokens=num_tokens,
            generators=[states.streams[episode] for episode in episodes],
            memory=self._memory,
            last_plan=last_plan,
            keep_rows=keep_rows,
        )

    def _find_subgoals(self, observations: Observations, episodes: Episodes, goals: Goals, steps: int) -> Goals:
        """Return the places so many steps ahead on the recorded ways, to which plans of some episodes go, of the batch.

        All other episodes of the batch have their goals.

        Raises:
            InputError: if there is no goal, or the model does not hold a cost-to-go.
        """
        graph = self.model.cost_to_go
        if goals is None or graph is None:
            lacking = "a goal: reset(goal=...)" if goals is None else "a checkpoint that holds a cost to go"
            raise InputError(f"subgoal={steps} needs {lacking}.")
        field = graph.solve_for(torch.as_tensor(goals[episodes], dtype=torch.float32))
        positions = observations[episodes][:, index_channels(self.task.goal)]
        starts = torch.as_tensor(positions, dtype=torch.float32)
        if BY_COST not in list_guides(self.config.guidance.guide):  # which warns, too
            warn_of_no_way(starts, [field])
        places = goals.copy()
        places[episodes] = field.find_subgoals(starts, steps).numpy()
        return places

    def _observe(self, observation, belief: Belief) -> tuple[Observations, bool]:
        """Return checked observations with a batch axis, and whether that axis was added.

        Also begin the episodes at their first observation, take the goal from a dictionary, and count passed way
        points unless the observation is doubted.
        """
        observation, goal = unpack_observation(observation)
        single = np.ndim(observation) == 1
        observations = check_array(observation, self.task.observation_dim, "observation")
        goals = self._check_goal(goal, "desired_goal") if self.task.goal else None
        states = self._episodes
        if states is None:
            first, seed, num_steps = self._begun
            states = EpisodeStates.begin(len(observations), first if goals is None else goals, seed, num_steps)
        if states.batch != len(observations):
            number = f"{len(observations)} observations do not fit {states.batch} seeds"
            raise InputError(f"{number}; call reset() when the batch changes.")
        states, has_new_goal = states.change_goals(goals)
        if has_new_goal.any():  # with a history the plans of all episodes are made together
            together = self.config.observation.history > 0
            self._executions.drop(np.flatnonzero(has_new_goal | together))
        if not belief.doubted:
            passed = count_passed(self.config.guidance.guide, self.task, observations, states.passed)
            states = replace(states, passed=passed)
        self._episodes = states
        return observations, single
