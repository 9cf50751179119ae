"""Several processes that ``torchrun`` started, working as one: whose part is which, and how the parts come together.

Without torchrun there is one process, all parts are its own, and nothing here costs anything, not even loading torch.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from dfplan.envs.errors import InputError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")
# The first process evaluates and writes while the others wait. Should it die, torchrun ends them long before.
PATIENCE = timedelta(days=1)
FIRST_WORD_SECONDS = 10.0  # by which the others let the first process tell the user of a mistake that all of them see


@dataclass(frozen=True)
class Processes:
    """This process and its fellows. All of them must call a method that says so, in the same order.

    Attributes:
        rank: number of this process; the first, 0, alone writes files and talks to the user.
        count: how many there are.
        local_rank: number of this process on its machine.
        local_count: how many there are on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    @contextmanager
    def connected(self, device: "torch.device | None" = None) -> Iterator[None]:
        """Connect the processes during the block, which they enter and leave together; all must call it.

        Args:
            device: where the tensors are that are added up; None if there are none.
        """
        if self.count == 1:
            yield
            return
        import torch

        # Its functions take the group of the moment of their import as a default. Imported later, as an optimiser does,
        # they would keep the connection and its threads for ever, which then abort the program when it ends.
        import torch.distributed.nn

        torch.set_num_threads(self._num_threads())
        on_gpu = device is not None and device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
        try:
            self.wait()
            yield
            self.wait()
        finally:
            torch.distributed.destroy_process_group()

    def part(self, length: int) -> slice:
        """Return which of ``length`` things are this process's; the parts differ in size by one at most."""
        return slice(length * self.rank // self.count, length * (self.rank + 1) // self.count)

    def add_up(self, tensors: "list[torch.Tensor]") -> None:
        """Replace each tensor by its sum over the processes, the same to the last bit on each; all must call it."""
        if self.count == 1:
            return
        import torch

        flat = torch.cat([tensor.flatten() for tensor in tensors])  # one message instead of many small ones
        torch.distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(total.view_as(tensor))

    def collected(self, value: Value) -> list[Value]:
        """Return the values of all processes by rank; all must call it."""
        if self.count == 1:
            return [value]
        import torch

        values = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def from_first(self, value: Value) -> Value:
        """Return the first process's value; all must call it."""
        return self.collected(value)[0]

    def wait(self) -> None:
        """Return when all processes have called it."""
        self.collected(None)

    def _num_threads(self) -> int:
        """Return this process's share of the cores, unless the user chose; torchrun itself says 1."""
        chosen = int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])
        has_affinity = hasattr(os, "sched_getaffinity")  # not on every system
        cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return chosen if chosen > 1 else max(1, cores // self.local_count)


ALONE = Processes()


def launched() -> Processes:
    """Return this process among those that torchrun started; ``ALONE`` without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # RANK and its like may be left over from other programs
        return ALONE
    return Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def own_device(name: str) -> str:
    """Return the name of this process's device: process i of a machine has GPU i unless the user names one GPU."""
    processes = launched()
    if processes.count == 1 or name not in ("auto", "cuda"):
        return name
    import torch

    return f"cuda:{processes.local_rank}" if name == "cuda" or torch.cuda.is_available() else name


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the first process tell of a mistake that all see, and another one only if the first has nothing to tell.

    When the first has said its sentence and ended, torchrun ends those that wait here.
    """
    try:
        yield
    except InputError:
        if not launched().is_first:
            time.sleep(FIRST_WORD_SECONDS)
        raise
