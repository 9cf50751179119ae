"""``dfplan-data``: generates a data set and writes it in D4RL's format."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from dfplan.envs.datasets import DATASET_ROWS, write_hdf5
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset, generate
from dfplan.envs.layouts import parse_maze_name
from dfplan.ground.command_line import (
    CommandParser,
    exit_two_on_input_error,
    non_negative_number,
    positive_integer,
    seed_number,
)
from dfplan.ground.errors import InputError
from dfplan.ground.files import make_writable_folder


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog="dfplan-data", description="Generate the data set of a maze and write it as HDF5 in D4RL's format."
    )
    parser.add_argument("maze", help="name of the maze, for instance maze2d-large")
    parser.add_argument("--rows", type=positive_integer, help="number of rows (default: as many as D4RL published)")
    parser.add_argument(
        "--noise", type=non_negative_number, default=DATASET_NOISE, help="standard deviation of the action noise"
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of all random numbers")
    parser.add_argument("--output", type=Path, help="file to write (default: MAZE.hdf5 in this folder)")
    return parser


@exit_two_on_input_error
def main() -> None:
    """Run the command."""
    arguments = _make_parser().parse_args()
    maze = parse_maze_name(arguments.maze)
    output = arguments.output or Path(f"maze2d-{maze}.hdf5")
    if output.is_dir():
        raise InputError(f"the output {output} is a folder; give a file name such as {output / f'maze2d-{maze}.hdf5'}.")
    if output.exists():
        raise InputError(f"{output} exists and is not replaced; choose another file with --output.")
    make_writable_folder(output.parent)  # checked now, because generating takes minutes
    rows = arguments.rows or DATASET_ROWS[maze]
    dataset = generate(maze, rows, arguments.noise, arguments.seed, progress=True)
    _write_new(output, dataset)
    print(f"wrote {rows} rows to {output}")


def _write_new(output: Path, dataset: Dataset) -> None:
    """Write a data set to a new file.

    Raises:
        InputError: if the file cannot be written, or exists in the meantime.
    """
    try:
        with TemporaryDirectory(prefix=".unfinished-", dir=output.parent) as folder:
            write_hdf5(Path(folder) / output.name, dataset)
            os.link(Path(folder) / output.name, output)  # unlike a rename, a link fails if the file exists
    except FileExistsError as error:
        raise InputError(
            f"{output} was created in the meantime and is not replaced; choose another --output."
        ) from error
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}.") from error


if __name__ == "__main__":
    main()
