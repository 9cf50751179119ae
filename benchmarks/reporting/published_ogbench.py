"""Published success on OGBench's point mazes, for comparison."""

from dataclasses import dataclass

from dfplan.envs.ogbench_names import MAZES

OWN, EASIER = "OGBench's", "no noise of starts and goals; velocities observed"


@dataclass(frozen=True)
class Quoted:
    """The published success of one method on the data sets of one kind.

    Attributes:
        method: name that its authors use.
        kind: of the data sets, ``navigate`` or ``stitch``.
        success: in %, by maze; mazes that the source does not report are missing.
        protocol: of the evaluation.
        seconds: per plan, as its authors report it.
    """

    method: str
    kind: str
    success: dict[str, float | int]
    protocol: str = OWN
    seconds: str = "-"


def _quote(
    method: str, kind: str, success: tuple[float | int | None, ...], protocol: str = OWN, seconds: str = "-"
) -> Quoted:
    return Quoted(
        method, kind, {maze: value for maze, value in zip(MAZES, success) if value is not None}, protocol, seconds
    )


# In the order of ``MAZES``: medium, large, giant. Nothing is quoted for teleport.
QUOTED = [
    _quote("Diffuser", "navigate", (58, 44, 0), EASIER),
    _quote("Diffusion Forcing", "navigate", (65, 74, 50), EASIER),
    _quote("MCTD", "navigate", (100, 98, 100), EASIER, "59 to 264 (GPU)"),
    _quote("Fast-MCTD", "navigate", (100, 80, 100), EASIER, "2.4 to 4.1 (GPU)"),
    _quote("Hierarchical Diffuser", "navigate", (95, 98, 96)),
    _quote("HorizonFlow", "navigate", (100, 99.8, 97.1)),
    _quote("QRL", "navigate", (82, 86, 68)),
    _quote("HIQL", "navigate", (79, 58, 46)),
    _quote("SAW", "navigate", (97, 85, 68)),
    _quote("Diffusion Forcing", "stitch", (53, 20, None), EASIER),
    _quote("MCTD", "stitch", (90, 20, None), EASIER),
    _quote("GSC", "stitch", (100, 100, 29)),
    _quote("CompDiffuser", "stitch", (100, 100, 68)),
    _quote("CDGS", "stitch", (100, None, 87)),
    _quote("QRL", "stitch", (80, 84, 50)),
    _quote("HIQL", "stitch", (74, 13, 0)),
]
