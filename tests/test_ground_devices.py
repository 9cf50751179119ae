"""Tests of keeping freed memory. Unknown devices are tested with the commands that take their names."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from dfplan.ground.devices import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        parts = [torch.ones(1 << 20) for _ in range(4)]  # 4 MiB each
        del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_default = faults()
keep_freed_memory()
faults()
print(by_default, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again_for_the_next_tensors():
    answer = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    by_default, kept = map(int, answer.stdout.split())
    # 20 times 16 MiB in pages of 4 KiB are 81,920 faults; a kernel with larger pages has fewer of them by default.
    assert kept < 1_000 and by_default > 5 * kept
