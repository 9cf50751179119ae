"""Checks of what users give to the agent."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
from jaxtyping import Float

from dfplan.ground.errors import InputError


def check_array(value, size: int, name: str) -> Float[np.ndarray, "batch channel"]:
    """Return a copy of ``value`` as an array (batch, size).

    Raises:
        InputError: if it has another shape or holds numbers that are not finite in float32; ``name`` says what it is.
    """
    try:
        array = np.atleast_2d(np.array(value, dtype=np.float64))  # a copy: the caller may use its memory again
    except (TypeError, ValueError) as error:
        raise InputError(f"the {name} is not an array of numbers.") from error
    if array.ndim != 2 or array.shape[1] != size or not len(array):
        raise InputError(f"this agent expects {name}s of shape ({size},) or (batch, {size}), not {np.shape(value)}.")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise InputError(f"the {name} holds a value that is not finite, or too large for float32.")
    return array


def unpack_observation(observation) -> tuple[object, object]:
    """Return observation and goal, from the dictionary of a Gymnasium goal environment.

    The goal is None if there is no dictionary, or no ``desired_goal`` in it.

    Raises:
        InputError: if the dictionary lacks ``observation``.
    """
    if not isinstance(observation, Mapping):
        return observation, None
    if "observation" not in observation:
        keys = ", ".join(map(str, observation)) or "no key"
        raise InputError(f"the observation's dictionary lacks 'observation'; it has {keys}.")
    return observation["observation"], observation.get("desired_goal")


def check_share(value, name: str) -> float:
    """Return a number in [0, 1].

    Raises:
        InputError: if ``value`` is not such a number.
    """
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InputError(f"{name} must be one number in [0, 1], not {value!r}.")
    return float(value)
