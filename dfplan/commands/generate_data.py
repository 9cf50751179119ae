"""``dfplan-data``: generates a data set of D4RL's mazes or of OGBench's point mazes, and writes it in their formats."""

import io
import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dfplan.envs.datasets import DATASET_ROWS, write_hdf5
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset, generate
from dfplan.envs.layouts import parse_maze_name
from dfplan.envs.ogbench_mazes import generate_ogbench
from dfplan.envs.ogbench_names import PREFIX, parse_ogbench_name
from dfplan.ground.command_line import (
    CommandParser,
    exit_two_on_input_error,
    non_negative_number,
    positive_integer,
    seed_number,
)
from dfplan.ground.errors import InputError
from dfplan.ground.files import make_writable_folder, write_file


def _make_parser() -> CommandParser:
    text = "Generate a data set and write it: of a D4RL maze as HDF5, of an OGBench point maze as two npz files."
    parser = CommandParser(prog="dfplan-data", description=text)
    parser.add_argument("name", help="name of a maze or of a data set: maze2d-large, pointmaze-giant-stitch-v0")
    parser.add_argument("--rows", type=positive_integer, help="number of rows of a maze (default: as D4RL published)")
    noise = f"standard deviation of the action noise in a maze (default: {DATASET_NOISE})"
    parser.add_argument("--noise", type=non_negative_number, help=noise)
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of all random numbers")
    output = "file to write (default: NAME.hdf5 or NAME.npz in this folder); OGBench's validation set lies beside it"
    parser.add_argument("--output", type=Path, help=output)
    return parser


@exit_two_on_input_error
def main() -> None:
    """Run the command."""
    arguments = _make_parser().parse_args()
    if arguments.name.startswith(PREFIX):
        _make_ogbench(arguments)
    else:
        _make_maze(arguments)


def _make_maze(arguments: Namespace) -> None:
    """Write a data set of a D4RL maze."""
    maze = parse_maze_name(arguments.name)
    output = arguments.output or Path(f"maze2d-{maze}.hdf5")
    _check_output(output)
    rows = arguments.rows or DATASET_ROWS[maze]
    noise = DATASET_NOISE if arguments.noise is None else arguments.noise
    dataset = generate(maze, rows, noise, arguments.seed, progress=True)
    _write_new(output, partial(write_hdf5, dataset=dataset))
    print(f"wrote {rows} rows to {output}")


def _make_ogbench(arguments: Namespace) -> None:
    """Write the training and the validation episodes of a data set of OGBench."""
    for option in ("rows", "noise"):
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option} is for D4RL's mazes; the data sets of OGBench are made as it makes them.")
    name = parse_ogbench_name(arguments.name)
    output = arguments.output or Path(f"{name}.npz")
    outputs = output, output.with_name(f"{output.stem}-val{output.suffix}")
    for path in outputs:
        _check_output(path)
    for path, validation in zip(outputs, (False, True), strict=True):
        dataset = generate_ogbench(name, arguments.seed, validation, progress=True)
        _write_new(path, partial(_write_npz, dataset=dataset))
        print(f"wrote {len(dataset['terminals'])} rows to {path}")


def _check_output(output: Path) -> None:
    """Raise ``InputError`` if a file cannot be written; generating its contents takes long."""
    if output.is_dir():
        raise InputError(f"the output {output} is a folder; give the name of a file in it.")
    if output.exists():
        raise InputError(f"{output} exists and is not replaced; choose another file with --output.")
    make_writable_folder(output.parent)


def _write_npz(path: Path, dataset: Dataset) -> None:
    image = io.BytesIO()
    np.savez_compressed(image, **dataset)  # type: ignore[arg-type]
    write_file(path, image.getbuffer())


def _write_new(output: Path, write: Callable[[Path], None]) -> None:
    """Write a data set to a new file.

    Raises:
        InputError: if the file cannot be written, or exists in the meantime.
    """
    try:
        with TemporaryDirectory(prefix=".unfinished-", dir=output.parent) as folder:
            write(Path(folder) / output.name)
            os.link(Path(folder) / output.name, output)  # unlike a rename, a link fails if the file exists
    except FileExistsError as error:
        raise InputError(
            f"{output} was created in the meantime and is not replaced; choose another --output."
        ) from error
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}.") from error


if __name__ == "__main__":
    main()
