"""Where tensors live and in which precision the network trains."""

import ctypes
import functools
import sys
import time

import torch

from dfplan.envs.errors import InputError

PROBE_SIZE, PROBE_REPEATS = 1024, 5  # a matrix product large enough to tell the rates apart, a few milliseconds long

# Options of glibc's malloc, and bytes: the largest threshold that it takes, and what a training step needs.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_THRESHOLD, TRIM_THRESHOLD = 32 << 20, 512 << 20


def find_device(name: str = "auto") -> torch.device:
    """Return the named device; ``auto`` is the first GPU, or else the CPU, where this process then keeps freed memory.

    Raises:
        InputError: if there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # some devices can be named but hold no values
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {name!r} here: {str(error).splitlines()[0]}.") from error
    device = torch.device(name)
    if device.type == "cpu":
        keep_freed_memory()
    return device


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep freed memory (up to 512 MiB) for the next tensors, where it is glibc.

    By default it hands the larger tensors' memory back to the system, whose fresh pages cost a batched pass of the
    network a third of its time.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


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
