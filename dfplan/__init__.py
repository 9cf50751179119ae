"""dfplan: one Diffusion Forcing model as policy and planner, with a Gymnasium interface.

Importing dfplan only registers the mazes. It does not import torch, which is imported when a name such as
``DFPlanner`` is first used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ != "dfplan":  # in a checkout, the extended path below would also find this package as dfplan.dfplan
    raise ModuleNotFoundError(f"there is no module {__name__!r}; import dfplan instead.", name=__name__)

_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "setup.cfg").is_file():  # in a checkout, envs/, agents/ and benchmarks/ are beside this package
    __path__.append(str(_CHECKOUT))

from dfplan.envs import register_mazes  # noqa: E402

if TYPE_CHECKING:
    from dfplan.agents.planner import DFPlanner
    from dfplan.benchmarks.evaluation.public import evaluate
    from dfplan.commands.runs import train
    from dfplan.data.recording import Recording
    from dfplan.task import Task

register_mazes()

__all__ = ["DFPlanner", "Recording", "Task", "__version__", "evaluate", "train"]
__version__ = "0.1.0"  # setup.cfg reads it from here


def __getattr__(name: str) -> Any:
    """Import a public name on first use, and torch with most of them."""
    if name == "DFPlanner":
        from dfplan.agents.planner import DFPlanner

        return DFPlanner
    if name == "Recording":
        from dfplan.data.recording import Recording

        return Recording
    if name == "Task":
        from dfplan.task import Task

        return Task
    if name == "train":
        from dfplan.commands.runs import train

        return train
    if name == "evaluate":
        from dfplan.benchmarks.evaluation.public import evaluate

        return evaluate
    raise AttributeError(f"module 'dfplan' has no attribute {name!r}")
