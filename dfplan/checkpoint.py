"""Checkpoints: one safetensors file with weights, data statistics, and the configuration as JSON. No pickle."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dfplan.config import ModelConfig
from dfplan.cost_to_go import CostToGo
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError, unknown_name
from dfplan.envs.files import write_whole
from dfplan.loaded import record_checkpoint

FORMAT = "dfplan-1"
FILE_NAME = "model.safetensors"
COST_TO_GO = "cost_to_go."  # before the names of its tensors
SHIPPED = Path(__file__).parent / "checkpoints"


def save_checkpoint(path: str | Path, model: DiffusionForcing, info: dict, half: bool = False) -> None:
    """Write ``model`` and ``info`` (JSON: where it comes from) to ``path``, in one piece or not at all.

    With ``half`` the weights (not the data's statistics) take two bytes each; loading makes them float32 again.
    """
    metadata = {"format": FORMAT, "config": json.dumps(asdict(model.config)), "info": json.dumps(info)}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        weights |= {name: weights[name].half() for name, _ in model.named_parameters()}
    if model.cost_to_go is not None:
        weights |= {COST_TO_GO + name: tensor for name, tensor in model.cost_to_go.tensors().items()}
    write_whole(path, save(weights, metadata))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the file of a shipped checkpoint (``maze2d-large``, with or without ``-v1``), a run's folder, or a file.

    A shipped name wins over a folder of that name; write ``./maze2d-large`` for the folder.

    Raises:
        InputError: if there is none; with the near matches among the shipped.
    """
    path = Path(name_or_path)
    shipped = {file.stem: file for file in SHIPPED.glob("*.safetensors")}
    name = str(name_or_path).removesuffix("-v1")
    if name in shipped:
        return shipped[name]
    if path.is_dir() and (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_dir():
        raise InputError(f"the folder {path} holds no {FILE_NAME}.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no checkpoint file {path}.")
    raise unknown_name("shipped checkpoint", name, shipped)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> tuple[DiffusionForcing, dict]:
    """Return the model, in evaluation mode on ``device``, and the info it was saved with.

    A ``recorded_checkpoints`` around the call notes the file.

    Raises:
        InputError: if the file is truncated, or not a checkpoint of dfplan, or one of another format, or if its
            numbers are not finite as float32 or its standard deviations not above 0.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dictionary)
        record_checkpoint(Path(path).stem if Path(path).parent == SHIPPED else str(path), Path(path))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a readable safetensors checkpoint (truncated or of another kind): {error}."
        ) from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a dfplan checkpoint of format {FORMAT!r} (it says {metadata.get('format')!r})."
        )
    try:
        names = [name for name in weights if name.startswith(COST_TO_GO)]
        graph = {name.removeprefix(COST_TO_GO): weights.pop(name) for name in names}
        model = DiffusionForcing(ModelConfig(**json.loads(metadata["config"])))
        model.cost_to_go = CostToGo(**graph) if graph else None
        model.load_state_dict(weights)
        info = json.loads(metadata["info"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise InputError(f"the weights in {path} do not fit the configuration stored with them: {reason}.") from error
    _check_numbers(path, model)
    return model.eval().requires_grad_(False).to(device), info


def _check_numbers(path: str | Path, model: DiffusionForcing) -> None:
    """Raise ``InputError`` unless the model can compute with its numbers, as they are once they have been loaded.

    A file may hold numbers that are finite in its own type and not in the model's.
    """
    if not all(torch.isfinite(numbers).all() for numbers in (*model.state_dict().values(), model.alpha_bar)):
        raise InputError(f"{path} holds weights or statistics that are not finite in float32; train or copy it anew.")
    if model.cost_to_go is not None:
        model.cost_to_go.check(str(path), model.config.goal_dim)
    if not (model.codec.std > 0).all():
        raise InputError(
            f"{path} holds standard deviations of the data of which one is {model.codec.std.min().item():g} in float32 "
            "and not above 0; train or copy it anew."
        )
