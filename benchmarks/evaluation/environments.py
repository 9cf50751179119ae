"""Opens environments in which agents are evaluated: by any Gymnasium id, from a factory, or as a vector environment.

Ids of environments that bring a vector environment of their own, such as D4RL's mazes, use it. Single environments are
joined by Gymnasium's ``SyncVectorEnv``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import gymnasium as gym
from gymnasium import VectorizeMode
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from dfplan.envs.d4rl_coordinates import D4RLCoordinates
from dfplan.envs.layouts import LAYOUTS, Layout, parse_maze_name
from dfplan.envs.ogbench_names import find_ogbench
from dfplan.envs.reproducible import KeepScoreInfo, OwnRandomState
from dfplan.ground.errors import InputError, choose, find_reason
from dfplan.spaces import Spaces, find_own_task, find_single, name_env, read_spaces, read_task
from dfplan.task import Task

Maker = Callable[[], gym.Env]
EnvLike = str | Maker | gym.Env | VectorEnv
COORDINATES: dict[str, Callable[[gym.Env], gym.Env]] = {"own": lambda env: env, "d4rl": D4RLCoordinates}
MOST_HINTS = 3  # similar ids that an error names


@dataclass(frozen=True, eq=False)
class World:
    """An environment in which agents are evaluated, and what is known of it.

    Attributes:
        name: Gymnasium's id, or the name of the class.
        spaces: sizes and action bounds.
        open: opens and closes a vector environment with a number of slots. One that a caller has made has its own
            number of slots and stays open.
        own_task: what the environment says itself of its task; None if it says nothing.
        num_steps: length of the longest episode; None if it is not known.
        reference: returns with the normalized scores 0 and 100; None if there are none.
        layout: of a maze; None for other environments.
        is_made_by_caller: whether a caller has made the vector environment, so that its number of slots is fixed.
    """

    name: str
    spaces: Spaces
    open: Callable[[int], AbstractContextManager[VectorEnv]]
    own_task: Task | None = None
    num_steps: int | None = None
    reference: tuple[float, float] | None = None
    layout: Layout | None = None
    is_made_by_caller: bool = False


def find_env_id(name: str) -> str:
    """Return Gymnasium's id for a user's name.

    Of D4RL's mazes, ``maze2d-`` and ``-v1`` may be left out. A data set of OGBench, such as
    ``pointmaze-giant-stitch-v0``, stands for its environment.
    """
    if name in gym.registry:
        return name
    of_ogbench = find_ogbench(name)
    if of_ogbench is not None:
        return of_ogbench.env_id
    try:
        return f"maze2d-{parse_maze_name(name)}-v1"
    except InputError:
        return name


def find_maze(env_id: str) -> str | None:
    """Return the name of D4RL's maze with this id, such as ``large``; None for all other environments."""
    try:
        return parse_maze_name(env_id)
    except InputError:
        return None


def describe_other_world(trained_on: str, world: World) -> str | None:
    """Return how a world differs from the one that a model was trained on; None if it does not, or has no id."""
    name, of_model = world.name, trained_on.rpartition(":")[2]
    if name not in gym.registry or of_model not in gym.registry or name == of_model:
        return None
    maze = find_maze(of_model)
    if maze is not None and world.layout == LAYOUTS[maze]:  # in its coordinates
        return None
    advice = ""
    if maze is not None and name.startswith("PointMaze"):
        advice = "; --coordinates d4rl, or coordinates='d4rl', shows a PointMaze in the coordinates of such a model"
    return f"was trained on {of_model}, not on {name}{advice}"


def make_env(env_id: str, **kwargs: Any) -> gym.Env:
    """Return a single environment.

    Raises:
        InputError: if there is no such environment, or it cannot be made.
    """
    try:
        return gym.make(env_id, **kwargs)
    except gym.error.UnregisteredEnv as error:
        near = get_close_matches(env_id, gym.registry, n=MOST_HINTS)
        hint = f"did you mean {' or '.join(near)}?" if near else "an id of a module that registers it is module:Env-v0."
        raise InputError(f"there is no environment {env_id!r}; {hint}") from error
    except Exception as error:  # environments raise errors of any kind
        advice = "; install the module, or add its folder to PYTHONPATH" if isinstance(error, ImportError) else ""
        raise InputError(f"the environment {env_id} cannot be made: {find_reason(error)}{advice}.") from error


def read_task_by_id(env_id: str, **facts: Any) -> Task:
    """Return the task of the environment with an id; ``facts`` replace what is read (``dfplan.spaces.read_task``).

    Raises:
        InputError: if there is no such environment, or its task cannot be read.
    """
    with open_single(env_id) as env:
        return read_task(env, **facts)


@contextmanager
def open_single(env: str | Maker | gym.Env) -> Iterator[gym.Env]:
    """Yield a single environment. It is closed at the end, unless the caller has made it.

    Raises:
        InputError: if there is no such environment, or it cannot be made.
    """
    if isinstance(env, gym.Env):
        yield env
        return
    with closing(make_env(env) if isinstance(env, str) else _call(env)) as made:
        yield made


def find_world(env: Any, max_steps: int | None = None, coordinates: str = "own") -> World:
    """Return the world of an environment.

    Args:
        env: Gymnasium's id, a function that returns a new environment, an environment, or a vector environment.
        max_steps: length at which episodes are cut; None for the environment's own.
        coordinates: a key of ``COORDINATES``.

    Raises:
        InputError: if there is no such environment, or it cannot be used.
    """
    convert = choose("kind of coordinates", coordinates, COORDINATES)
    if max_steps is not None and max_steps < 1:
        raise InputError(f"an episode has at least 1 step, not {max_steps}.")
    if isinstance(env, VectorEnv):
        if coordinates != "own":
            raise InputError("the coordinates of a vector environment cannot be changed; give an id, or a function.")
        return _find_given_world(env, max_steps)
    if isinstance(env, gym.Env):
        with_one_slot = _join([lambda: convert(env)])
        with_one_slot.closed = True  # its end must not close the caller's environment
        return _find_given_world(with_one_slot, max_steps)
    if isinstance(env, str):
        return _find_made_world(lambda: convert(_make_by_id(env, max_steps)), max_steps, env)
    if callable(env):
        return _find_made_world(lambda: convert(_call(env)), max_steps)
    raise InputError(f"an environment is an id, a function that returns one, or an environment, not {env!r}.")


def _find_given_world(env: VectorEnv, max_steps: int | None) -> World:
    """Return the world of a vector environment that the caller has made."""
    facts = _read_facts(find_single(env), max_steps)
    return World(spaces=read_spaces(env), open=lambda _: nullcontext(env), is_made_by_caller=True, **facts)


def _find_made_world(make: Maker, max_steps: int | None, env_id: str | None = None) -> World:
    """Return the world of environments that ``make`` makes; ``env_id`` may bring a vector environment of its own."""
    with closing(make()) as first:
        facts = _read_facts(first, max_steps) | {"spaces": read_spaces(first)}
        has_other_coordinates = isinstance(first, D4RLCoordinates)
        brings_own = env_id is not None and not has_other_coordinates and _brings_own_vector(env_id, first)
    if env_id is not None and brings_own:
        return World(open=lambda slots: _open_own_vector(env_id, slots, max_steps), **facts)
    return World(open=lambda slots: closing(_join([make] * slots)), **facts)


def _call(make: Maker) -> gym.Env:
    """Return the environment that a user's function makes.

    Raises:
        InputError: if it returns something else.
    """
    env = make()
    if not isinstance(env, gym.Env):
        raise InputError(f"a function that makes environments must return a gymnasium.Env, not {env!r}.")
    return env


def _make_by_id(env_id: str, max_steps: int | None) -> gym.Env:
    return make_env(env_id) if max_steps is None else make_env(env_id, max_episode_steps=max_steps)


def _join(makers: Sequence[Maker]) -> SyncVectorEnv:
    """Return a vector environment of single ones, each of which is reset when the caller asks for it.

    Raises:
        InputError: if two of them are the same.
    """
    wrapped = [lambda make=make: KeepScoreInfo(OwnRandomState(make())) for make in makers]
    joined = SyncVectorEnv(wrapped, autoreset_mode=AutoresetMode.DISABLED)
    if len({id(env.unwrapped) for env in joined.envs}) < len(makers):
        raise InputError("a function that makes environments must return a new one at every call.")
    return joined


def _read_facts(env: Any, max_steps: int | None) -> dict[str, Any]:
    """Return what a single environment tells of itself, apart from its spaces."""
    base, spec = env.unwrapped, env.spec
    own_steps = spec.max_episode_steps if spec else None
    reference = getattr(base, "ref_min_score", None), getattr(base, "ref_max_score", None)  # as D4RL names them
    is_cut = max_steps is not None  # returns of episodes of another length cannot be compared with the reference
    layout = next((one.layout for one in (env, base) if isinstance(getattr(one, "layout", None), Layout)), None)
    return {
        "name": name_env(env),
        "own_task": find_own_task(env),
        "num_steps": max_steps or own_steps,
        "reference": None if None in reference or is_cut else reference,
        "layout": layout,
    }


def _brings_own_vector(env_id: str, first: gym.Env) -> bool:
    """Return whether an environment has a vector environment of its own that takes one seed for each slot."""
    if first.spec is None or first.spec.vector_entry_point is None:
        return False
    try:
        with _open_own_vector(env_id, 1, None) as vector:
            vector.reset(seed=[0])  # type: ignore[arg-type]
    except Exception:  # Gymnasium's own CartPole, for example, takes one seed for all slots only
        return False
    return True


def _open_own_vector(env_id: str, slots: int, max_steps: int | None) -> AbstractContextManager[VectorEnv]:
    """Open the vector environment that an id brings."""
    limit: dict[str, Any] = {} if max_steps is None else {"max_episode_steps": max_steps}
    return closing(gym.make_vec(env_id, slots, VectorizeMode.VECTOR_ENTRY_POINT, **limit))
