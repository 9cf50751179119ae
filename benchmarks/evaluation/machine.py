"""The processor and the package versions, which results record."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dfplan", "torch", "mujoco", "gymnasium", "numpy")


def find_versions() -> dict[str, str]:
    """Return the versions of dfplan, Python and the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a checkout may not be installed; without networks torch is not needed
            found[package] = "absent"
    return found


def find_processor() -> str:
    """Return the model name of the processor."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
