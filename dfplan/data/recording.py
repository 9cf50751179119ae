"""Recordings: what was seen of a world, row by row.

``Recording.load`` reads files of D4RL, OGBench and Minari, and takes arrays and lists of episodes
(``dfplan.data.recording_files``).
"""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.data.columns import EPISODE, Table, check_columns, read_episode, warn_of_unused
from dfplan.data.recording_files import read_file, write_hdf5, write_minari
from dfplan.ground.errors import InputError
from dfplan.task import Task

ROUNDING = 1e-4  # share of the range of an action by which a recorded action may lie outside its bounds
LONG_EPISODE = 10_000  # steps; a recording that consists of one longer episode may lack the ends of its episodes


@dataclass(frozen=True, eq=False)
class Recording:
    """Episodes of one world, one after another, each from its first observation on.

    Row t holds an observation, the action taken there, and the reward of that row: of the step to the next row, or of
    the observation of the row, as the task says (``Task.reward_of``). If the observation after the last step of an
    episode is known, it has a row of its own. This final row has no action and no reward; those of the row before it
    stand in their place, or zeros if the episode terminated.

    Attributes:
        observations, actions, rewards: of each row.
        is_last: whether a row is the last one of its episode.
        is_absorbing: whether the episode terminated with this observation. The same observation follows forever, with
            action 0 and reward 0. After the last row of any other episode nothing is known.
        is_final: whether a row holds only the observation after the last step, and no step.
        goals: the goal that was pursued in each row; None if none was recorded.
        states: the true observations of each row, if they can differ from the observations, as in D4RL's mazes; else
            None.
        source: name of the file, for messages.
    """

    observations: Float[np.ndarray, "row observation"]
    actions: Float[np.ndarray, "row action"]
    rewards: Float[np.ndarray, " row"]
    is_last: Bool[np.ndarray, " row"]
    is_absorbing: Bool[np.ndarray, " row"]
    is_final: Bool[np.ndarray, " row"]
    goals: Float[np.ndarray, "row goal"] | None = None
    states: Float[np.ndarray, "row observation"] | None = None
    source: str = "the recording"

    @classmethod
    def load(cls, source: Any) -> "Recording":
        """Return the recording in a file, or in memory.

        Args:
            source: a D4RL HDF5 file, an OGBench or D4RL npz file, a Minari folder, or a Minari id with or without
                ``minari:`` before it; columns by their names in D4RL, or a list of episodes, each with its own columns
                (see ``from_rows`` and ``from_episodes``).

        Raises:
            InputError: if there is no such file or id, or it does not hold a recording.
        """
        if isinstance(source, Recording):
            return source
        if isinstance(source, Mapping):
            return cls.from_rows(source)
        if not isinstance(source, str | Path):
            return cls.from_episodes(source)
        found = read_file(str(source))
        return cls.from_episodes(found, str(source)) if isinstance(found, list) else cls.from_rows(found, str(source))

    @classmethod
    def from_rows(cls, columns: Mapping[str, Any], source: str = "the recording") -> "Recording":
        """Return the recording in columns with the names of D4RL.

        Args:
            columns: ``observations``, ``actions``, and at least one of ``terminals`` and ``timeouts``, which mark the
                last steps of episodes. ``rewards`` are 0 if they are missing. ``next_observations`` tell how episodes
                end. D4RL's mazes have ``infos/goal``, ``infos/qpos`` and ``infos/qvel``, too.
            source: where the columns come from, for messages.

        Raises:
            InputError: if a column is missing, has a wrong shape, or holds numbers that are not finite.
        """
        table = check_columns(columns, source)
        rows = len(table["observations"])
        terminals, timeouts = (table.get(key, np.zeros(rows, bool)) for key in ("terminals", "timeouts"))
        is_last = terminals | timeouts
        is_last[-1:] = True
        none = np.zeros(rows, bool)
        columns_of = (table["observations"], table["actions"], table["rewards"])
        recording = cls(*columns_of, is_last, none, none, table.get("infos/goal"), _find_states(table), source)
        after = table.get("next_observations")
        known = is_last if after is not None else terminals
        return recording._append_final_rows(known, terminals, table["observations"] if after is None else after)

    @classmethod
    def from_episodes(cls, episodes: Any, source: str = "the recording") -> "Recording":
        """Return the recording of a list of episodes.

        Args:
            episodes: dictionaries in a list or another iterable, one for each episode: ``observations`` (steps + 1
                rows, or as many as steps), ``actions``, ``rewards``, and whether it ``terminated`` (a Boolean, or one
                for each step). The observations of a goal environment are a dictionary of ``observation`` and
                ``desired_goal``.
            source: where the episodes come from, for messages.

        Raises:
            InputError: if there is no episode, or an episode cannot be used.
        """
        if not isinstance(episodes, Iterable):
            raise InputError(
                "a recording is a file, a Minari id or folder, a dictionary of columns or a list of episodes, not "
                f"{episodes!r}."
            )
        if not (episodes := list(episodes)):
            raise InputError(f"{source} has no episodes: give a list of dictionaries, one for each episode.")
        names = [f"{source}, episode {number}" for number in range(len(episodes))]
        keys = {key: None for episode in episodes if isinstance(episode, Mapping) for key in episode}
        warn_of_unused(keys, source, EPISODE)
        parts = [cls.from_rows(read_episode(*named), named[1]) for named in zip(episodes, names, strict=True)]
        widths = {
            (part.observations.shape[1:], part.actions.shape[1:], None if part.goals is None else part.goals.shape[1:])
            for part in parts
        }
        if len(widths) > 1:
            raise InputError(f"{source}: all episodes must have observations, actions and goals of the same sizes.")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].columns
        }
        return cls(**joined, source=source)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns that exist, by their names."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "source"}
        return {name: column for name, column in named.items() if column is not None}

    @property
    def true_states(self) -> Float[np.ndarray, "row observation"]:
        """The true observations of each row: the observations unless ``states`` tells others."""
        return self.observations if self.states is None else self.states

    @property
    def num_rows(self) -> int:
        """Number of rows, those of last observations included."""
        return len(self.observations)

    @property
    def num_steps(self) -> int:
        """Number of recorded steps."""
        return int((~self.is_final).sum())

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return int(self.is_last.sum())

    @property
    def longest(self) -> int:
        """Most steps of an episode after which the observation is known."""
        rows = np.diff(np.flatnonzero(self.is_last), prepend=-1)
        return int(rows.max()) - 1

    @cached_property
    def digest(self) -> str:
        """Hash of all columns, by which the recording of a run is recognised."""
        found = hashlib.sha256()
        for name, column in self.columns.items():
            found.update(f"{name} {column.dtype} {column.shape}".encode())
            found.update(np.ascontiguousarray(column).data)
        return found.hexdigest()

    @property
    def lengths(self) -> Int[np.ndarray, " episode"]:
        """Number of steps of each episode."""
        steps = np.cumsum(~self.is_final)[self.is_last]
        return np.diff(steps, prepend=0)

    @property
    def returns(self) -> Float[np.ndarray, " episode"]:
        """Sum of the rewards of each episode."""
        total = np.cumsum(np.where(self.is_final, 0.0, self.rewards), dtype=np.float64)[self.is_last]
        return np.diff(total, prepend=0.0)

    def __repr__(self) -> str:
        """Return what is recorded in one line."""
        sizes = f"{self.observations.shape[1]} observation and {self.actions.shape[1]} action channels"
        ends = f"{int(self.is_absorbing.sum())} terminated"
        steps = f"{self.num_steps:,} steps, {self.num_episodes:,} episodes, {ends}"
        return f"Recording({self.source}: {steps}, {sizes}, mean return {self.returns.mean():.4g})"

    def take(self, rows: int | None) -> "Recording":
        """Return the first rows, all of them for None.

        Raises:
            InputError: if there are fewer, or ``rows`` is no whole number above 0.
        """
        if rows is None:
            return self
        if not isinstance(rows, Integral) or rows < 1:
            raise InputError(f"rows must be a whole number above 0, not {rows!r}.")
        if rows > self.num_rows:
            raise InputError(f"{self.source} has {self.num_rows} rows, not {rows}; ask for fewer.")
        taken: dict[str, Any] = {name: column[:rows].copy() for name, column in self.columns.items()}
        taken["is_last"][-1:] = True
        return replace(self, **taken)

    def check(self, task: Task) -> None:
        """Check that the recording is of the task's world, and warn if episodes seem to be joined.

        Raises:
            InputError: if sizes differ, or actions lie outside the bounds of the task.
        """
        for name, width in (("observation", task.observation_dim), ("action", task.action_dim)):
            found = getattr(self, f"{name}s").shape[1]
            if found != width:
                raise InputError(f"{self.source} has {found} {name} channels, but the environment has {width}.")
        if self.is_last.all():
            raise InputError(f"{self.source} holds no step with the observation after it, so nothing can be learned.")
        low, high = task.bounds
        actions, slack = self.actions[~self.is_final], ROUNDING * (high - low)
        outside = ((actions < low - slack) | (actions > high + slack)).any(axis=1)
        if outside.any():
            found = f"{np.round(actions.min(axis=0), 3).tolist()} to {np.round(actions.max(axis=0), 3).tolist()}"
            raise InputError(
                f"{outside.mean():.1%} of the actions in {self.source} lie outside the environment's bounds, "
                f"{low.tolist()} to {high.tolist()}: they go from {found}. If the environment clips actions, clip "
                "those of the recording, too."
            )
        longest = int(self.lengths.max())
        too_long = self.num_episodes == 1 and longest > LONG_EPISODE
        if task.max_episode_steps is not None:
            too_long = longest > task.max_episode_steps
        if too_long:
            warnings.warn(
                f"{self.source} has {self.num_episodes} episode{'s' * (self.num_episodes > 1)}, the longest of "
                f"{longest:,} steps: are the ends of the episodes marked (terminals, timeouts)?",
                stacklevel=2,
            )

    def save(self, path: str | Path) -> None:
        """Write the recording to an HDF5 file in D4RL's format, completely or not at all.

        The format has the last observations of all episodes or of none, so a warning says if some are lost.

        Raises:
            InputError: if the file cannot be written.
        """
        write_hdf5(path, self._to_columns())

    def save_minari(self, dataset_id: str, env_id: str, goal: Sequence[int] | None = None, **about: Any) -> Any:
        """Write the recording into Minari's local store, and return Minari's data set.

        Episodes whose last observation is unknown lose their last step, because an episode of Minari has one
        observation more than steps; a warning says so. In a goal environment the achieved goals are the goal channels
        of the observations.

        Args:
            dataset_id: for instance ``pendulum/mixed-v0``.
            env_id: Gymnasium id of the recording's world.
            goal: observation channels of the achieved goal; None to find them in the environment.
            about: what Minari is to keep about the data set: ``author``, ``author_email``, ``description``, ...

        Raises:
            InputError: if minari is not installed or refuses the data set, or the recording is not of this world.
        """
        lost = int((~self.is_final[self.is_last]).sum())
        if lost:
            warnings.warn(
                f"the last steps of {lost} of {self.num_episodes} episodes are not written, because the observations "
                "after them are unknown.",
                stacklevel=2,
            )
        episodes = []
        for rows in np.split(np.arange(self.num_rows), np.flatnonzero(self.is_last)[:-1] + 1):
            if len(rows) < 2:
                continue
            is_cut = np.arange(len(rows) - 1) == len(rows) - 2
            episode = {"observations": self.observations[rows], "actions": self.actions[rows[:-1]]}
            episode |= {"rewards": self.rewards[rows[:-1]], "terminals": is_cut & self.is_absorbing[rows[-1]]}
            episode |= {} if self.goals is None else {"goals": self.goals[rows]}
            episodes.append(episode | {"timeouts": is_cut & ~episode["terminals"]})
        return write_minari(dataset_id, env_id, episodes, self.check, goal, about)

    def _to_columns(self) -> Table:
        """Return D4RL's columns, with ``next_observations`` if the last observation of every episode is known."""
        step = ~self.is_final
        follows = np.append(self.is_final[1:], False)  # the next row holds the last observation of the episode
        is_last, ended = (self.is_last | follows)[step], np.append(self.is_absorbing[1:], False)[step]
        columns = {"observations": self.observations[step], "actions": self.actions[step]}
        columns |= {"rewards": self.rewards[step], "terminals": ended, "timeouts": is_last & ~ended}
        is_known, after = follows[step][is_last], np.roll(self.observations, -1, axis=0)[step]
        # A terminated episode is read again with its last observation twice.
        is_repeated = ended & (after == columns["observations"]).all(axis=1)
        if is_known.all():
            columns["next_observations"] = after
        elif (is_known & ~is_repeated[is_last]).any():
            warnings.warn(
                f"the observations after the last steps are not saved, because those of {(~is_known).sum()} of "
                f"{len(is_known)} episodes are unknown.",
                stacklevel=3,
            )
        if self.goals is not None:
            columns["infos/goal"] = self.goals[step]
        if self.states is not None:
            columns["infos/qpos"], columns["infos/qvel"] = np.split(self.states[step], 2, axis=1)
        return columns

    def _append_final_rows(
        self,
        known: Bool[np.ndarray, " row"],
        terminals: Bool[np.ndarray, " row"],
        after: Float[np.ndarray, "row observation"],
    ) -> "Recording":
        """Return the recording with a row after the last step of the episodes whose end is known.

        Args:
            known: the last steps of these episodes.
            terminals: the last steps of the episodes that terminated.
            after: the observation after each step. It is used after last steps.
        """
        rows = np.flatnonzero(known & self.is_last)
        if not len(rows):
            return self

        def insert(column, values):
            return None if column is None else np.insert(column, rows + 1, values, axis=0)

        ended = terminals[rows]
        is_last, is_absorbing, is_final = self.is_last.copy(), self.is_absorbing, self.is_final
        is_last[rows] = False
        actions, rewards = self.actions[rows].copy(), self.rewards[rows].copy()
        actions[ended], rewards[ended] = 0, 0
        return replace(
            self,
            observations=insert(self.observations, after[rows]),
            actions=insert(self.actions, actions),
            rewards=insert(self.rewards, rewards),
            is_last=insert(is_last, True),
            is_absorbing=insert(is_absorbing, ended),
            is_final=insert(is_final, True),
            goals=None if self.goals is None else insert(self.goals, self.goals[rows]),
            states=None if self.states is None else insert(self.states, after[rows]),
        )


def _find_states(table: Mapping[str, np.ndarray]) -> Float[np.ndarray, "row observation"] | None:
    """Return the true position and velocity of the ball in D4RL's mazes, None for other recordings."""
    parts = [table.get(key) for key in ("infos/goal", "infos/qpos", "infos/qvel")]
    if any(part is None for part in parts):
        return None
    position, velocity = (part for part in parts[1:] if part is not None)
    is_ball = position.shape == velocity.shape and 2 * position.shape[1] == table["observations"].shape[1]
    return np.concatenate([position, velocity], axis=1) if is_ball else None
