"""Devices: find one by name, keep freed memory on CPUs, and measure whether bfloat16 is faster there."""

import ctypes
import functools
import sys
import time

import torch

from dfplan.ground.errors import InputError, find_reason

PROBE_SIZE, PROBE_REPEATS = 1024, 5  # size of the timed matrix product, a few milliseconds long, and how often it runs

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # the numbers of two options of glibc's malloc
MMAP_THRESHOLD = 32 << 20  # bytes; the largest value that glibc accepts
TRIM_THRESHOLD = 512 << 20  # bytes; enough for a training step


def find_device(name: str = "auto") -> torch.device:
    """Return the named device; ``auto`` is the first GPU, or the CPU if there is no GPU.

    On a CPU this process keeps freed memory from then on (``keep_freed_memory``).

    Raises:
        InputError: if this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"there is no device {name!r}; choose auto or cpu, or cuda with a GPU.") from error
    try:
        torch.zeros(1, device=device).item()  # some names are valid although the device cannot hold values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the device {name!r} cannot be used: {find_reason(error)}.") from error
    if device.type == "cpu":
        keep_freed_memory()
    return device


@functools.cache
def keep_freed_memory() -> None:
    """Tell glibc to keep up to 512 MiB of freed memory for the next tensors. Other C libraries are left as they are.

    By default glibc returns the memory of large tensors to the system. Getting new pages from the system then takes a
    third of the time of a batched pass of the network.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def is_bfloat16_faster(device: torch.device) -> bool:
    """Return whether matrix products are faster in bfloat16 than in float32.

    Both are timed, because the ratio differs tenfold between CPUs.
    """
    return _time_product(torch.bfloat16, device) < _time_product(torch.float32, device)


def _time_product(dtype: torch.dtype, device: torch.device) -> float:
    """Return the shortest duration of a matrix product, in seconds."""
    matrix = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype, device=device)
    seconds = []
    for _ in range(PROBE_REPEATS):
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # item() waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds)
