"""Several processes that ``torchrun`` starts share one job: their slices of the work, and their communication.

Without ``torchrun`` there is one process. It does all of the work, and nothing here loads torch.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dfplan.ground.errors import InputError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")
# The longest wait for another process. The others wait while the first one evaluates and writes, which takes long. If a
# process dies, torchrun ends the others much earlier.
COLLECTIVE_TIMEOUT = timedelta(days=1)
FIRST_REPORT_SECONDS = 10.0  # for which the other processes wait, so that the first one reports a user's mistake


@dataclass(frozen=True)
class Processes:
    """This process among all processes of the job.

    Where a method says that all processes must call it, they must do so in the same order.

    Attributes:
        rank: number of this process. Only the first one, 0, writes files and prints.
        count: number of processes.
        local_rank: number of this process on its machine.
        local_count: number of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    @contextmanager
    def connect(self, device: "torch.device | None" = None) -> Iterator[None]:
        """Connect the processes during the block. All must call it, and they enter and leave the block together.

        Args:
            device: device of the tensors given to ``sum_in_place``; None if there are none.
        """
        if self.count == 1:
            yield
            return
        import torch

        # The functions of this module keep the process group of the moment of the import as a default argument. If an
        # optimiser imported it later, they would keep the connection and its threads, which then abort the program when
        # it ends.
        import torch.distributed.nn

        torch.set_num_threads(self._count_threads())
        on_gpu = device is not None and device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=COLLECTIVE_TIMEOUT)
        try:
            self.wait()
            yield
            self.wait()
        finally:
            torch.distributed.destroy_process_group()

    def slice_of(self, length: int) -> slice:
        """Return this process's slice of ``length`` items. The slices of two processes differ by at most one item."""
        return slice(length * self.rank // self.count, length * (self.rank + 1) // self.count)

    def sum_in_place(self, tensors: "list[torch.Tensor]") -> None:
        """Replace each tensor by its sum over all processes, which is bit-equal on all of them. All must call it."""
        if self.count == 1:
            return
        import torch

        flat = torch.cat([tensor.flatten() for tensor in tensors])  # one message instead of many small ones
        torch.distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(total.view_as(tensor))

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in the order of their ranks. All must call it."""
        if self.count == 1:
            return [value]
        import torch

        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: Value) -> Value:
        """Return the value of the first process. All must call it."""
        return self.gather(value)[0]

    def wait(self) -> None:
        """Wait until all processes have called it."""
        self.gather(None)

    def _count_threads(self) -> int:
        """Return the user's ``OMP_NUM_THREADS``, or else this process's share of the cores.

        A value of 1 counts as no choice of the user, because torchrun itself sets it.
        """
        chosen = int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])
        has_affinity = hasattr(os, "sched_getaffinity")  # not on every system
        cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return chosen if chosen > 1 else max(1, cores // self.local_count)


SINGLE_PROCESS = Processes()


def find_processes() -> Processes:
    """Return this process among those that torchrun started; without torchrun, ``SINGLE_PROCESS``."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # other programs may set RANK and similar variables too
        return SINGLE_PROCESS
    return Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def assign_device(name: str) -> str:
    """Return the name of the device that this process uses, given the name that the user chose.

    For ``auto`` and ``cuda``, process i of a machine gets GPU i. Other names are returned unchanged.
    """
    processes = find_processes()
    if processes.count == 1 or name not in ("auto", "cuda"):
        return name
    import torch

    return f"cuda:{processes.local_rank}" if name == "cuda" or torch.cuda.is_available() else name


@contextmanager
def report_error_once() -> Iterator[None]:
    """Let only the first process report an ``InputError`` of the block that all processes raise.

    The others wait before they raise it. When the first process has reported the error and ended, torchrun ends the
    waiting processes. If the first process raises no error, another one reports its own after the wait.
    """
    try:
        yield
    except InputError:
        if not find_processes().is_first:
            time.sleep(FIRST_REPORT_SECONDS)
        raise
