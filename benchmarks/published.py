"""Scores to compare with, quoted from those who published them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quoted:
    """One published row.

    Attributes:
        method: the method as its authors call it.
        source: where the number stands, the paper and its year.
        scale: which of the three scores it is.
        scores: by maze; a maze that the authors did not report is absent.
    """

    method: str
    source: str
    scale: str
    scores: dict[str, float]


def _row(method: str, source: str, scale: str, umaze: float, medium: float, large: float) -> Quoted:
    return Quoted(method, source, scale, {"umaze": umaze, "medium": medium, "large": large})


_DIFFUSER, _FORCING = "Janner et al. 2022", "Chen et al. 2024 (Diffusion Forcing)"
_DOUBTFUL = "as printed; their code logs the raw return, so the scale is doubtful"
_VETERAN = "Lu et al. 2025 (Diffusion Veteran)"

FIXED_GOAL = [
    _row("MPPI", _DIFFUSER, "normalized", 33.2, 10.2, 5.1),
    _row("CQL", _DIFFUSER, "normalized", 5.7, 5.0, 12.5),
    _row("IQL", _DIFFUSER, "normalized", 47.4, 34.9, 58.6),
    _row("Diffuser, PD controller", _DIFFUSER, "normalized", 113.9, 121.5, 123.0),
    _row("Diffuser, its own actions", _FORCING, "normalized", 6.3, 13.5, 6.3),
    _row("Diffusion Forcing without MCG", _FORCING, _DOUBTFUL, 110.1, 136.1, 142.8),
    _row("Diffusion Forcing with MCG", _FORCING, _DOUBTFUL, 116.7, 149.4, 159.0),
    _row("AdaptDiffuser", "Liang et al. 2023", "normalized", 135.1, 129.9, 167.9),
    _row("HD-DA", "Chen et al. 2024 (Hierarchical Diffuser)", "normalized", 128.4, 135.6, 155.8),
    _row("Diffusion Veteran", _VETERAN, "normalized_if_stay", 136.6, 150.7, 203.6),
    _row("Diffusion Veteran, joint state-action", _VETERAN, "normalized_if_stay", 146.3, 156.0, 202.9),
]
RANDOM_GOAL = [
    _row("Diffuser (Multi2D)", _DIFFUSER, "normalized", 128.9, 127.2, 132.1),
    _row("Diffusion Forcing with MCG (Multi2D)", _FORCING, "normalized", 119.1, 152.3, 167.1),
]
QUOTED = {"fixed": FIXED_GOAL, "random": RANDOM_GOAL}
