"""The loop in which agents and environments meet: numbered episodes side by side in the slots of a vector environment.

When an episode ends, by termination or truncation, the next one that waits begins in its slot, and agent and
environment are reset in this slot only. An agent or a vector environment that cannot begin single episodes runs batch
by batch: a batch ends with its longest episode, and what happens in a slot after its episode is ignored. The results
are the same, because the random numbers of an episode depend on its own seeds only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Bool, Float

from dfplan.benchmarks.evaluation.environments import World
from dfplan.benchmarks.evaluation.protocols import Agent, act, find_task, renews_single_episodes, reset_agent
from dfplan.envs.reproducible import SUCCESS_KEYS
from dfplan.ground.errors import InputError
from dfplan.task import Task

MOST_STEPS = 10_000  # steps after which an episode of unknown length is taken for endless
IDLE_SEED = 0  # of slots for which no episode is left

EpisodeSeeds = tuple[int, int]  # of the environment, and of the agent
Slots = Bool[np.ndarray, " slot"]


@dataclass(frozen=True, eq=False)
class Episode:
    """What happened in one episode.

    Attributes:
        goal: at its beginning; None for a world without goals.
        path: positions before the first and after every step; None if they are not known to lie in a plane.
        rewards: reward of each step.
        successes: 1 or 0 for each step, NaN where the environment does not say.
    """

    goal: Float[np.ndarray, " goal"] | None
    path: Float[np.ndarray, "time_and_start 2"] | None
    rewards: Float[np.ndarray, " time"]
    successes: Float[np.ndarray, " time"]


def run_episodes(
    agent: Agent,
    world: World,
    seeds: Sequence[EpisodeSeeds],
    side_by_side: int,
    advance: Callable[[int], object] = lambda steps: None,
    options: dict[str, Any] | None = None,
) -> list[Episode]:
    """Return what ``agent`` does in the episodes with the given seeds, in their order.

    Args:
        agent: is reset for every episode.
        world: the environment.
        seeds: the environment's and the agent's seed of each episode.
        side_by_side: number of slots, unless the vector environment is given.
        advance: is called with the number of steps made; those that an episode has not needed count too.
        options: for every ``reset`` of the environment.

    Raises:
        InputError: if an episode of unknown length does not end, or a reward or an action is not finite.
    """
    episodes: list[Episode] = []
    while len(episodes) < len(seeds):
        waiting = seeds[len(episodes) :]
        with world.open(min(side_by_side, len(waiting))) as env:
            renewed = resets_single_slots(env) and renews_single_episodes(agent)
            table = _Table(agent, world, env, waiting if renewed else waiting[: env.num_envs], options)
            episodes += _run_in_slots(table, advance)
    return episodes


def resets_single_slots(env: VectorEnv) -> bool:
    """Return whether the caller resets single slots of a vector environment, and not the environment itself."""
    return env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED


def find_goals(observations: Any, infos: Mapping[str, Any], task: Task | None) -> Float[np.ndarray, "slot goal"] | None:
    """Return the goal in each slot: ``desired_goal`` of observations, or ``goal`` of infos; None without goals.

    Goals that are no numbers, such as texts, count as none.

    Args:
        observations: of all slots.
        infos: of all slots.
        task: of the agent; None if it tells none.
    """
    is_told = isinstance(observations, Mapping) and "desired_goal" in observations
    goals = observations["desired_goal"] if is_told else infos.get("goal")
    if goals is None or (task is not None and not task.goal) or np.asarray(goals).dtype.kind not in "fiu":
        return None
    goals = np.array(goals, dtype=float)
    return goals if task is None else task.take_goal(goals)


def find_plane(task: Task) -> list[int] | None:
    """Return the two observation channels that are positions in a plane, or else in which a goal lies; None if none."""
    return next((list(channels) for channels in (task.position, task.goal) if len(channels) == 2), None)


def _run_in_slots(table: "_Table", advance: Callable[[int], object]) -> list[Episode]:
    """Run episodes in the slots of one vector environment until none is left."""
    env = table.env
    observations = table.begin(np.ones(env.num_envs, bool))
    while table.running.any():
        actions = act(table.agent, observations, env.num_envs, table.world.spaces.action_dim)
        observations, rewards, terminated, truncated, infos = env.step(actions)
        advance(int(table.running.sum()))
        table.record(observations, rewards, infos)
        over = terminated | truncated | table.find_cut()
        advance(table.finish(over & table.running))
        if over.any():
            observations = table.begin(over, observations)
    return table.get_episodes()


class _Table:
    """Which episode runs in which slot, and what has happened there.

    Attributes:
        numbers: number of the episode in each slot; -1 if the slot is idle, because no episode is left for it.
        ages: steps since the beginning of the episode in each slot.
    """

    def __init__(
        self,
        agent: Agent,
        world: World,
        env: VectorEnv,
        seeds: Sequence[EpisodeSeeds],
        options: dict[str, Any] | None,
    ):
        self.agent, self.world, self.env, self.seeds, self.options = agent, world, env, seeds, options
        self.numbers = np.full(env.num_envs, -1)
        self.ages = np.zeros(env.num_envs, np.int64)
        self._waiting = iter(range(len(seeds)))
        self._task = find_task(agent) or world.own_task
        self._plane = None if self._task is None else find_plane(self._task)
        self._starts: dict[int, tuple] = {}  # episode -> goal and position at its beginning
        self._spans: dict[int, tuple[int, int, int]] = {}  # episode -> slot, first step and last step in the logs
        self._positions: list[np.ndarray | None] = []  # of all slots after each step; the same for the others
        self._rewards: list[np.ndarray] = []
        self._successes: list[np.ndarray] = []

    @property
    def running(self) -> Slots:
        """The slots in which an episode runs."""
        return self.numbers >= 0

    def begin(self, slots: Slots, observations: Any = None) -> Any:
        """Begin the next episodes in the given slots; return the observations of all slots.

        Args:
            slots: in which no episode runs any more.
            observations: of all slots; None at the beginning, when all slots are reset.
        """
        is_first, renewed = observations is None, resets_single_slots(self.env)
        self.numbers[slots] = [next(self._waiting, -1) for _ in range(slots.sum())]
        self.ages[slots] = 0
        if not is_first and not renewed:
            return observations
        observations, infos = self._reset_env(slots if renewed else None)
        goals, positions = find_goals(observations, infos, find_task(self.agent)), self._find_positions(observations)
        begun = np.flatnonzero(slots & self.running)
        for slot in begun:
            self._starts[int(self.numbers[slot])] = _take(goals, slot), _take(positions, slot)
        if is_first:
            seeds = [agent_seed for _, agent_seed in self._list_seeds()]
            reset_agent(self.agent, goal=goals, seed=seeds, num_steps=self.world.num_steps)
        elif len(begun):
            seeds = [self.seeds[number][1] for number in self.numbers[begun]]
            goals, num_steps = _take(goals, begun), self.world.num_steps
            reset_agent(self.agent, goal=goals, seed=seeds, num_steps=num_steps, episodes=begun.tolist())
        return observations

    def record(self, observations: Any, rewards: np.ndarray, infos: Mapping[str, Any]) -> None:
        """Keep what a step has brought.

        Raises:
            InputError: if the reward in a running episode is not finite.
        """
        if not np.isfinite(rewards[self.running]).all():
            raise InputError(f"a reward of {self.world.name} is not a finite number.")
        positions, successes = self._find_positions(observations), _read_successes(infos, self.env.num_envs)
        if "final_info" in infos:  # of slots that the environment has already reset in this step
            final = _read_successes(infos["final_info"], self.env.num_envs)
            successes = np.where(infos["_final_info"], final, successes)
        if positions is not None and "final_obs" in infos:
            for slot in np.flatnonzero(infos["_final_obs"]):
                positions[slot] = self._find_positions(_take_slot(infos["final_obs"], int(slot)))
        self._positions.append(positions)
        self._rewards.append(np.array(rewards, dtype=float))
        self._successes.append(successes)
        self.ages += 1

    def find_cut(self) -> Slots:
        """Return the slots whose episode has its full length.

        Raises:
            InputError: if an episode of unknown length does not end.
        """
        if self.world.num_steps is not None:
            return self.ages >= self.world.num_steps
        if self.ages[self.running].max(initial=0) >= MOST_STEPS:
            raise InputError(
                f"an episode of {self.world.name} has not ended after {MOST_STEPS} steps, and the environment has no "
                "limit of steps; give one with --max-steps, max_steps=, or max_episode_steps of the task."
            )
        return np.zeros(len(self.ages), bool)

    def finish(self, slots: Slots) -> int:
        """Note that the episodes in the given slots have ended; return the steps by which they were shorter."""
        now = len(self._rewards)
        for slot in np.flatnonzero(slots):
            self._spans[int(self.numbers[slot])] = int(slot), now - int(self.ages[slot]), now
        self.numbers[slots] = -1
        return 0 if self.world.num_steps is None else int((self.world.num_steps - self.ages[slots]).sum())

    def get_episodes(self) -> list[Episode]:
        """Return all episodes in the order of their seeds."""
        return [self._cut_episode(number) for number in range(len(self.seeds))]

    def _cut_episode(self, number: int) -> Episode:
        goal, start = self._starts[number]
        slot, first, last = self._spans[number]
        rewards, successes = (
            np.array([step[slot] for step in log[first:last]]) for log in (self._rewards, self._successes)
        )
        path = None
        if start is not None:
            path = np.stack([start, *(_take(positions, slot) for positions in self._positions[first:last])])
        return Episode(goal, path, rewards, successes)

    def _list_seeds(self) -> list[EpisodeSeeds]:
        idle = (IDLE_SEED, IDLE_SEED)
        return [self.seeds[number] if number >= 0 else idle for number in self.numbers]

    def _reset_env(self, slots: Slots | None) -> tuple[Any, dict[str, Any]]:
        """Reset the given slots of the environment, or all of them."""
        options = self.options if slots is None else {"reset_mask": slots, **(self.options or {})}
        # Gymnasium's vector environments accept one seed per environment, but their annotation says one for all.
        seeds: Any = [env_seed for env_seed, _ in self._list_seeds()]
        try:
            return self.env.reset(seed=seeds, options=options)
        except (TypeError, gym.error.Error) as error:
            if not self.world.is_made_by_caller:
                raise
            advice = "its reset must take one seed for each slot; evaluate a function that makes single environments"
            raise InputError(f"{self.world.name} cannot seed its episodes: {advice}.") from error

    def _find_positions(self, observations: Any) -> Float[np.ndarray, "*slot 2"] | None:
        """Return a copy of the positions in observations of all slots, or of one; None if they do not lie in a plane.

        For an agent that tells no task, they are the achieved goals of a goal environment.
        """
        if self._plane is not None:
            vectors = observations["observation"] if isinstance(observations, Mapping) else observations
            return np.asarray(vectors)[..., self._plane]
        if self._task is not None or not isinstance(observations, Mapping) or "achieved_goal" not in observations:
            return None
        achieved = np.array(observations["achieved_goal"])
        return achieved if achieved.shape[-1:] == (2,) else None


def _take_slot(observations: Any, slot: int) -> Any:
    """Return the observation of one slot, from a dictionary of arrays or an array of observations."""
    if isinstance(observations, Mapping):
        return {name: values[slot] for name, values in observations.items()}
    return observations[slot]


def _take(values: np.ndarray | None, slots: Any) -> Any:
    """Return the values of a slot or of several; None if there are no values."""
    return None if values is None else values[slots]


def _read_successes(infos: Mapping[str, Any], num_envs: int) -> Float[np.ndarray, " slot"]:
    """Return 1 or 0 for each slot, as its info says; NaN where it says nothing."""
    successes = np.full(num_envs, np.nan)
    for key in SUCCESS_KEYS:
        if key in infos:
            told = np.where(infos.get(f"_{key}", True), np.asarray(infos[key], dtype=float), np.nan)
            successes = np.fmax(successes, told)
    return successes
