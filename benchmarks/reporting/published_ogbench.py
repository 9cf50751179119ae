"""Published success on OGBench's point mazes, for comparison."""

from dataclasses import dataclass

from dfplan.envs.ogbench_names import MAZES

OWN, EASIER = "OGBench's", "no noise of starts and goals; velocities observed"


@dataclass(frozen=True)
class Quoted:
    """The published success of one method on the data sets of one kind.

    Attributes:
        method: name that its authors use.
        source: publication that has the numbers: authors and year, as far as known.
        kind: of the data sets, ``navigate`` or ``stitch``.
        success: in %, by maze; mazes that the source does not report are missing.
        protocol: of the evaluation.
        seconds: per plan, as its authors report it.
    """

    method: str
    source: str
    kind: str
    success: dict[str, float | int]
    protocol: str = OWN
    seconds: str = "-"


Success = tuple[float | int | None, ...]  # in % in the mazes medium, large, giant; None if it is not reported


def _quote(method: str, source: str, kind: str, success: Success, protocol: str = OWN, seconds: str = "-") -> Quoted:
    known = {maze: value for maze, value in zip(MAZES, (*success, None), strict=True) if value is not None}
    return Quoted(method, source, kind, known, protocol, seconds)


_MCTD, _FAST = "Yoon et al. 2025 (MCTD)", "Yoon et al. 2025 (Fast-MCTD)"
_OGBENCH, _COMPOSED = "Park et al. 2025 (OGBench)", "Luo et al. 2025 (CompDiffuser)"
# Nothing is quoted for the maze teleport.
QUOTED = [
    _quote("Diffuser", _MCTD, "navigate", (58, 44, 0), EASIER),
    _quote("Diffusion Forcing", _MCTD, "navigate", (65, 74, 50), EASIER),
    _quote("MCTD", _MCTD, "navigate", (100, 98, 100), EASIER, "59 to 264 (GPU)"),
    _quote("Fast-MCTD", _FAST, "navigate", (100, 80, 100), EASIER, "2.4 to 4.1 (GPU)"),
    _quote("Hierarchical Diffuser", "HD, as quoted by later work", "navigate", (95, 98, 96)),
    _quote("HorizonFlow", "HorizonFlow, 2026", "navigate", (100, 99.8, 97.1)),
    _quote("QRL", _OGBENCH, "navigate", (82, 86, 68)),
    _quote("HIQL", _OGBENCH, "navigate", (79, 58, 46)),
    _quote("SAW", "SAW, 2025", "navigate", (97, 85, 68)),
    _quote("Diffusion Forcing", _MCTD, "stitch", (53, 20, None), EASIER),
    _quote("MCTD", _MCTD, "stitch", (90, 20, None), EASIER),
    _quote("GSC", _COMPOSED, "stitch", (100, 100, 29)),
    _quote("CompDiffuser", _COMPOSED, "stitch", (100, 100, 68)),
    _quote("CDGS", "CDGS, 2025", "stitch", (100, None, 87)),
    _quote("QRL", _OGBENCH, "stitch", (80, 84, 50)),
    _quote("HIQL", _OGBENCH, "stitch", (74, 13, 0)),
]
