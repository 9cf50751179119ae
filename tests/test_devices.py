"""That freed memory is kept; devices that are not there are tested where they are named."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from dfplan.devices import keep_freed_memory

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
def test_memory_of_freed_tensors_is_kept_for_the_next():
    answer = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    by_default, kept = map(int, answer.stdout.split())
    assert by_default > 10_000  # 20 times 16 MiB in pages of 4 KiB are 81,920
    assert kept < 1_000
