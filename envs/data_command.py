"""The command ``dfplan-data``: write a data set in D4RL's format."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from dfplan.envs.datasets import DATASET_ROWS, write_hdf5
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset, generate
from dfplan.envs.errors import (
    CommandParser,
    InputError,
    exit_two_on_input_error,
    non_negative_number,
    positive_integer,
    seed_number,
)
from dfplan.envs.files import writable_folder
from dfplan.envs.layouts import maze_name


def _parser() -> CommandParser:
    parser = CommandParser(prog="dfplan-data", description="Write a maze's data set as D4RL's HDF5.")
    parser.add_argument("maze", help="for instance maze2d-large")
    parser.add_argument("--rows", type=positive_integer, help="rows (default: as many as D4RL published)")
    parser.add_argument(
        "--noise", type=non_negative_number, default=DATASET_NOISE, help="standard deviation added to actions"
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of everything random")
    parser.add_argument("--output", type=Path, help="file to write (default: MAZE.hdf5 in this folder)")
    return parser


@exit_two_on_input_error
def main() -> None:
    """Generate and write the data set that the command line asks for."""
    arguments = _parser().parse_args()
    maze = maze_name(arguments.maze)
    output = arguments.output or Path(f"maze2d-{maze}.hdf5")
    if output.is_dir():
        raise InputError(f"the output {output} is a folder; give a file name such as {output / f'maze2d-{maze}.hdf5'}.")
    if output.exists():
        raise InputError(f"{output} exists and stays; choose another file with --output.")
    writable_folder(output.parent)  # before the minutes of work, not after
    rows = arguments.rows or DATASET_ROWS[maze]
    dataset = generate(maze, rows, arguments.noise, arguments.seed, progress=True)
    _write_new(output, dataset)
    print(f"wrote {rows} rows to {output}")


def _write_new(output: Path, dataset: Dataset) -> None:
    """Write a data set to a file that does not exist.

    Raises:
        InputError: if it cannot be written, or exists by now.
    """
    try:
        with TemporaryDirectory(prefix=".unfinished-", dir=output.parent) as folder:
            write_hdf5(Path(folder) / output.name, dataset)
            os.link(Path(folder) / output.name, output)  # fails, unlike a rename, if the file exists
    except FileExistsError as error:
        raise InputError(f"{output} has come into being meanwhile and stays; choose another --output.") from error
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}.") from error


if __name__ == "__main__":
    main()
