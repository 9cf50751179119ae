"""dfplan: one Diffusion Forcing model as policy and planner, with a Gymnasium interface.

Importing dfplan registers the mazes and nothing else; torch is loaded when the model is first touched.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "setup.cfg").is_file():  # a source checkout: envs/, agents/ and benchmarks/ lie beside this package
    __path__.append(str(_CHECKOUT))

from dfplan.envs import register_mazes  # noqa: E402

register_mazes()

__all__ = ["DFPlanner", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """Load the agent, and torch with it, on first use."""
    if name == "DFPlanner":
        from dfplan.agents import DFPlanner

        return DFPlanner
    raise AttributeError(f"module 'dfplan' has no attribute {name!r}")
