"""Runs a command with two processes, as users do."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300  # seconds; half a minute is enough on an idle machine, and processes that wait for ever must end


def torchrun(*command, **variables) -> subprocess.CompletedProcess:
    """Return how ``torchrun --nproc-per-node 2 COMMAND`` ended and what it printed, with environment ``variables``."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, command)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path} | {name: str(value) for name, value in variables.items()}
    return subprocess.run(words, cwd=ROOT, env=environment, timeout=TIMEOUT, capture_output=True, text=True)
