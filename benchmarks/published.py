"""Scores to compare with, quoted from those who published them."""

from dataclasses import dataclass, replace

RECORDING, AS_PUBLISHED = "D4RL's recording", "as published"
OWN_ACTIONS, PD = "own actions", "PD controller"


@dataclass(frozen=True)
class Quoted:
    """One published row.

    Attributes:
        method: the method as its authors call it.
        source: where the number stands, the authors and the year, as far as known.
        scale: which of the three scores it is.
        scores: by maze; a maze that the authors did not report is absent.
        trained_on: the method's data.
        driven_by: what turned its plans into actions; ``AS_PUBLISHED`` where the source has to be asked.
    """

    method: str
    source: str
    scale: str
    scores: dict[str, float]
    trained_on: str = RECORDING
    driven_by: str = AS_PUBLISHED


MAZES = ("umaze", "medium", "large")
Scores = tuple[float, float, float]  # by maze


def _row(method: str, source: str, scores: Scores, driven_by: str = AS_PUBLISHED, scale: str = "normalized") -> Quoted:
    return Quoted(method, source, scale, dict(zip(MAZES, scores, strict=True)), driven_by=driven_by)


_DIFFUSER, _FORCING = "Janner et al. 2022", "Chen et al. 2024 (Diffusion Forcing)"
_DOUBTFUL = "as printed; their code logs the raw return, so the scale is doubtful"
_VETERAN, _IF_STAY = "Lu et al. 2025 (Diffusion Veteran)", "normalized_if_stay"
_SSD, _HORIZON_FLOW = "Kim et al. 2024 (SSD)", "HorizonFlow, 2026"

FIXED_GOAL = [
    replace(_row("MPPI", _DIFFUSER, (33.2, 10.2, 5.1)), trained_on=AS_PUBLISHED),  # which plans without learning
    _row("CQL", _DIFFUSER, (5.7, 5.0, 12.5)),
    _row("IQL", _DIFFUSER, (47.4, 34.9, 58.6)),
    _row("Diffuser, PD controller", _DIFFUSER, (113.9, 121.5, 123.0), PD),
    _row("Diffuser, its own actions", _FORCING, (6.3, 13.5, 6.3), OWN_ACTIONS),
    _row("Diffusion Forcing without MCG", _FORCING, (110.1, 136.1, 142.8), OWN_ACTIONS, _DOUBTFUL),
    _row("Diffusion Forcing with MCG", _FORCING, (116.7, 149.4, 159.0), OWN_ACTIONS, _DOUBTFUL),
    _row("AdaptDiffuser", "Liang et al. 2023", (135.1, 129.9, 167.9)),
    _row("HDMI", "Li et al. 2023 (HDMI)", (120.1, 121.8, 128.6)),
    _row("HD-DA", "Chen et al. 2024 (Hierarchical Diffuser)", (128.4, 135.6, 155.8)),
    _row("SSD", _SSD, (144.6, 134.4, 183.5)),
    _row("VHD", "Liu et al. 2025 (VH-Diffuser)", (118.5, 130.5, 142.9)),
    _row("Diffusion Veteran", _VETERAN, (136.6, 150.7, 203.6), scale=_IF_STAY),
    _row("Diffusion Veteran, joint state-action", _VETERAN, (146.3, 156.0, 202.9), scale=_IF_STAY),
    _row("HorizonFlow", _HORIZON_FLOW, (137.5, 154.8, 205.2)),
]
RANDOM_GOAL = [
    _row("Diffuser, PD controller (Multi2D)", _DIFFUSER, (128.9, 127.2, 132.1), PD),
    _row("Diffuser, its own actions (Multi2D)", _FORCING, (32.8, 22.0, 6.9), OWN_ACTIONS),
    _row("Diffusion Forcing without MCG (Multi2D)", _FORCING, (107.7, 145.6, 129.8), OWN_ACTIONS, _DOUBTFUL),
    _row("Diffusion Forcing with MCG (Multi2D)", _FORCING, (119.1, 152.3, 167.1), OWN_ACTIONS, _DOUBTFUL),
    _row("SSD (Multi2D)", _SSD, (158.2, 155.2, 192.9)),
    _row("HorizonFlow (Multi2D)", _HORIZON_FLOW, (145.1, 170.5, 216.5)),
]
QUOTED = {"fixed": FIXED_GOAL, "random": RANDOM_GOAL}
