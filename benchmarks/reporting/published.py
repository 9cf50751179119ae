"""Published scores, for comparison."""

from dataclasses import dataclass, replace

RECORDING, AS_PUBLISHED = "D4RL's recording", "as published"
OWN_ACTIONS, PD = "own actions", "PD controller"


@dataclass(frozen=True)
class Quoted:
    """The published scores of one method.

    Attributes:
        method: name that its authors use.
        source: publication that has the scores: authors and year, as far as known.
        scale: which score it is, such as ``normalized``.
        scores: by maze; mazes that the source does not report are missing.
        trained_on: data of the method.
        driven_by: how plans became actions; ``AS_PUBLISHED`` if only the source can tell.
    """

    method: str
    source: str
    scale: str
    scores: dict[str, float]
    trained_on: str = RECORDING
    driven_by: str = AS_PUBLISHED


MAZES = ("umaze", "medium", "large")  # those of which scores are published
Scores = tuple[float, float, float]  # by maze


def _quote(
    method: str, source: str, scores: Scores, driven_by: str = AS_PUBLISHED, scale: str = "normalized"
) -> Quoted:
    return Quoted(method, source, scale, dict(zip(MAZES, scores, strict=True)), driven_by=driven_by)


_DIFFUSER, _FORCING = "Janner et al. 2022", "Chen et al. 2024 (Diffusion Forcing)"
_DOUBTFUL = "as printed; their code logs the raw return, so the scale is doubtful"
_VETERAN, _IF_STAY = "Lu et al. 2025 (Diffusion Veteran)", "normalized_if_stay"
_SSD, _HORIZON_FLOW = "Kim et al. 2024 (SSD)", "HorizonFlow, 2026"

FIXED_GOAL = [
    replace(_quote("MPPI", _DIFFUSER, (33.2, 10.2, 5.1)), trained_on=AS_PUBLISHED),  # MPPI plans without learning
    _quote("CQL", _DIFFUSER, (5.7, 5.0, 12.5)),
    _quote("IQL", _DIFFUSER, (47.4, 34.9, 58.6)),
    _quote("Diffuser, PD controller", _DIFFUSER, (113.9, 121.5, 123.0), PD),
    _quote("Diffuser, its own actions", _FORCING, (6.3, 13.5, 6.3), OWN_ACTIONS),
    _quote("Diffusion Forcing without MCG", _FORCING, (110.1, 136.1, 142.8), OWN_ACTIONS, _DOUBTFUL),
    _quote("Diffusion Forcing with MCG", _FORCING, (116.7, 149.4, 159.0), OWN_ACTIONS, _DOUBTFUL),
    _quote("AdaptDiffuser", "Liang et al. 2023", (135.1, 129.9, 167.9)),
    _quote("HDMI", "Li et al. 2023 (HDMI)", (120.1, 121.8, 128.6)),
    _quote("HD-DA", "Chen et al. 2024 (Hierarchical Diffuser)", (128.4, 135.6, 155.8)),
    _quote("SSD", _SSD, (144.6, 134.4, 183.5)),
    _quote("VHD", "Liu et al. 2025 (VH-Diffuser)", (118.5, 130.5, 142.9)),
    _quote("Diffusion Veteran", _VETERAN, (136.6, 150.7, 203.6), scale=_IF_STAY),
    _quote("Diffusion Veteran, joint state-action", _VETERAN, (146.3, 156.0, 202.9), scale=_IF_STAY),
    _quote("HorizonFlow", _HORIZON_FLOW, (137.5, 154.8, 205.2)),
]
RANDOM_GOAL = [
    _quote("Diffuser, PD controller (Multi2D)", _DIFFUSER, (128.9, 127.2, 132.1), PD),
    _quote("Diffuser, its own actions (Multi2D)", _FORCING, (32.8, 22.0, 6.9), OWN_ACTIONS),
    _quote("Diffusion Forcing without MCG (Multi2D)", _FORCING, (107.7, 145.6, 129.8), OWN_ACTIONS, _DOUBTFUL),
    _quote("Diffusion Forcing with MCG (Multi2D)", _FORCING, (119.1, 152.3, 167.1), OWN_ACTIONS, _DOUBTFUL),
    _quote("SSD (Multi2D)", _SSD, (158.2, 155.2, 192.9)),
    _quote("HorizonFlow (Multi2D)", _HORIZON_FLOW, (145.1, 170.5, 216.5)),
]
QUOTED = {"fixed": FIXED_GOAL, "random": RANDOM_GOAL}
