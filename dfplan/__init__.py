"""dfplan: one Diffusion Forcing model as policy and planner, with a Gymnasium interface.

Importing dfplan only registers the mazes. It does not import torch, which is imported when ``DFPlanner`` is first used.
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

register_mazes()

__all__ = ["DFPlanner", "__version__"]
__version__ = "0.1.0"  # setup.cfg reads it from here


def __getattr__(name: str) -> Any:
    """Import the agent, and torch with it, on first use."""
    if name == "DFPlanner":
        from dfplan.agents.planner import DFPlanner

        return DFPlanner
    raise AttributeError(f"module 'dfplan' has no attribute {name!r}")
