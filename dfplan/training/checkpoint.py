"""Checkpoints: one safetensors file with weights, data statistics, and the configuration as JSON. No pickle."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dfplan.config import read_model_config
from dfplan.data.cost_to_go import CostToGo
from dfplan.data.value import Value
from dfplan.ground.errors import InputError, unknown_name
from dfplan.ground.files import write_file
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.training.loaded_checkpoints import record_checkpoint

FORMAT = "dfplan-1"
FILE_NAME = "model.safetensors"
COST_TO_GO, VALUE = "cost_to_go.", "value."  # prefixes of the names of their tensors
SHIPPED = Path(__file__).parent.parent / "checkpoints"
# Checkpoints that only the studies load. The repository contains them, an installed package does not.
OF_STUDIES = SHIPPED.parent.parent / "benchmarks" / "checkpoints"
# Last word of the name of a study's checkpoint -> the options of dfplan-train that train such a model.
STUDY_FLAGS = {
    "recorded": "--demonstrations recorded",
    "causal": "--demonstrations recorded --backbone causal_transformer --level-sampler independent",
    "independent": "--demonstrations recorded --level-sampler independent",
    "mixture": "--demonstrations recorded --level-sampler mixture",
    "teacher_forcing": "--demonstrations recorded --level-sampler teacher_forcing",
    "full_sequence": "--demonstrations recorded --level-sampler full_sequence",
}


def save_checkpoint(path: str | Path, model: DiffusionForcing, info: dict, half: bool = False) -> None:
    """Write a checkpoint to ``path``, completely or not at all.

    Args:
        path: the safetensors file.
        model: its weights, the statistics of its data, its configuration, its cost to go and its value are written.
        info: the origin of the model, as JSON.
        half: whether to store the weights (not the statistics) in two bytes each; they are loaded as float32.

    Raises:
        InputError: if the file cannot be written.
    """
    metadata = {"format": FORMAT, "config": json.dumps(asdict(model.config)), "info": json.dumps(info)}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        weights |= {name: weights[name].half() for name, _ in model.named_parameters()}
    if model.cost_to_go is not None:
        weights |= {COST_TO_GO + name: tensor for name, tensor in model.cost_to_go.to_tensors().items()}
    if model.value is not None:
        weights |= {VALUE + name: tensor.cpu().contiguous() for name, tensor in model.value.to_tensors().items()}
    write_file(path, save(weights, metadata))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the file of a checkpoint, given its name, the folder of a run, or a file.

    A name is, for instance, ``maze2d-large``, with or without ``-v1``. Names are searched first in the package, then
    among the checkpoints of the studies, which only a checkout has. A name takes precedence over a folder of the same
    name; write ``./maze2d-large`` for the folder.

    Raises:
        InputError: if there is no such checkpoint. The message lists similar names, or tells how to get the checkpoint
            of a study.
    """
    path = Path(name_or_path)
    named = {file.stem: file for folder in (OF_STUDIES, SHIPPED) for file in folder.glob("*.safetensors")}
    name = str(name_or_path).removesuffix("-v1")
    if name in named:
        return named[name]
    if path.is_dir() and (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_dir():
        raise InputError(f"the folder {path} contains no {FILE_NAME}; give the output folder of dfplan-train.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no checkpoint file {path}.")
    maze, _, kind = name.rpartition("-")
    if kind in STUDY_FLAGS and maze in named and not OF_STUDIES.is_dir():
        raise InputError(
            f"the checkpoint {name} belongs to the studies and is not installed: run this in a checkout of the "
            "repository (benchmarks/checkpoints), or train such a model with "
            f"`dfplan-train {maze} {STUDY_FLAGS[kind]} --output FOLDER` and give FOLDER as the checkpoint."
        )
    raise unknown_name("checkpoint", name, named)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> tuple[DiffusionForcing, dict]:
    """Return the model of a checkpoint, in evaluation mode on ``device``, and the info saved with it.

    The file is recorded if the call is inside a ``track_checkpoints`` block.

    Raises:
        InputError: if the file is truncated, is not a dfplan checkpoint of this format, or contains impossible values:
            numbers that are not finite in float32, or standard deviations that are not above 0.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dictionary)
        is_named = Path(path).parent in (SHIPPED, OF_STUDIES)
        record_checkpoint(Path(path).stem if is_named else str(path), Path(path))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is truncated or is not a safetensors file: {error}; train or copy the checkpoint again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a dfplan checkpoint of format {FORMAT!r}; its format is {metadata.get('format')!r}."
        )
    try:
        graph, value = (_take_prefixed(weights, prefix) for prefix in (COST_TO_GO, VALUE))
        model = DiffusionForcing(read_model_config(json.loads(metadata["config"])))
        model.cost_to_go = CostToGo(**graph) if graph else None
        model.value = Value(**value) if value else None
        model.load_state_dict(weights)
        info = json.loads(metadata["info"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise InputError(
            f"the weights in {path} do not match the configuration stored with them ({reason}); train or copy the "
            "checkpoint again."
        ) from error
    _check_numbers(path, model)
    return model.eval().requires_grad_(False).to(device), info


def _take_prefixed(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Remove the tensors whose names begin with a prefix, and return them by the rest of their names."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _check_numbers(path: str | Path, model: DiffusionForcing) -> None:
    """Check the values of a loaded model.

    The values are checked after loading, because a value may be finite in the type of the file but not in float32.

    Raises:
        InputError: if values are not finite, or standard deviations are not above 0.
    """
    if not all(torch.isfinite(numbers).all() for numbers in (*model.state_dict().values(), model.alpha_bar)):
        raise InputError(f"{path} has weights or statistics that are not finite in float32; train or copy it again.")
    if model.cost_to_go is not None:
        model.cost_to_go.check(str(path), model.config.task.goal_dim)
    if model.value is not None:
        model.value.check(str(path), model.config.task.observation_dim)
    if not (model.codec.std > 0).all():
        raise InputError(
            f"{path} has a standard deviation of {model.codec.std.min().item():g} in float32, which is not above 0; "
            "train or copy it again."
        )
