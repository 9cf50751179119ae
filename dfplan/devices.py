"""Where tensors live and in which precision the network trains."""

import time

import torch

from dfplan.envs.errors import InputError

PROBE_SIZE, PROBE_REPEATS = 1024, 5  # a matrix product large enough to tell the rates apart, a few milliseconds long


def find_device(name: str = "auto") -> torch.device:
    """Return the named device; ``auto`` is the first GPU, or else the CPU.

    Raises:
        InputError: if there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # some devices can be named but hold no values
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {name!r} here: {str(error).splitlines()[0]}.") from error
    return torch.device(name)


def bfloat16_pays(device: torch.device) -> bool:
    """Return whether matrix products are faster in bfloat16 than in float32: measured, since CPUs differ tenfold."""
    return _seconds_per_product(torch.bfloat16, device) < _seconds_per_product(torch.float32, device)


def _seconds_per_product(dtype: torch.dtype, device: torch.device) -> float:
    matrix = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype, device=device)
    seconds = []
    for _ in range(PROBE_REPEATS):
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # item() waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds)
