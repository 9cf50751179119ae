"""``python -m dfplan.commands.ship RUN NAME``: gives the checkpoint of a run a name and writes its model card.

The checkpoint is written to ``dfplan/checkpoints``, which is installed. With ``--study`` it is written to
``benchmarks/checkpoints``, which only the repository has: for checkpoints that only studies load.
"""

from pathlib import Path

from dfplan.benchmarks.evaluation.conditions import FIRST_REPORTED_SEED, make_conditions
from dfplan.commands.model_card import write_card
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error, positive_integer
from dfplan.ground.errors import InputError
from dfplan.ground.files import replace_files
from dfplan.training.checkpoint import FILE_NAME, OF_STUDIES, SHIPPED, load_checkpoint, save_checkpoint
from dfplan.training.trainer import load_recipe


@exit_two_on_input_error
def main() -> None:
    """Run the command. The written checkpoint is loaded again and evaluated, because ``--half`` changes its weights."""
    parser = CommandParser(
        prog="python -m dfplan.commands.ship",
        description="Name the checkpoint of a finished run and write its model card.",
    )
    parser.add_argument("run", type=Path, help="output folder of dfplan-train")
    parser.add_argument("name", help="name of the checkpoint, such as maze2d-umaze-rnn")
    parser.add_argument(
        "--study", action="store_true", help="write it to benchmarks/checkpoints, which is not installed"
    )
    parser.add_argument("--half", action="store_true", help="store weights in two bytes instead of four")
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint of this name")
    parser.add_argument("--episodes", type=positive_integer, default=100, help="episodes of the model card")
    arguments = parser.parse_args()
    if Path(arguments.name).name != arguments.name:
        raise InputError(f"the name of a checkpoint must not contain a folder, as {arguments.name} does.")
    recipe = load_recipe(arguments.run)
    model, info = load_checkpoint(arguments.run / FILE_NAME)
    if info.get("step") != recipe.training.steps:
        raise InputError(f"the run is at step {info.get('step')} of {recipe.training.steps}; finish it first.")
    folder, other = (OF_STUDIES, SHIPPED) if arguments.study else (SHIPPED, OF_STUDIES)
    if not folder.is_dir():
        raise InputError(f"there is no {folder}; run this in a checkout of dfplan.")
    path = folder / f"{arguments.name}.safetensors"
    if (other / path.name).exists():
        raise InputError(f"{other / path.name} already has this name; choose another name, or delete that file.")
    for file in (path, path.with_suffix(".md")):
        if file.exists() and not arguments.overwrite:
            raise InputError(f"{file} exists and is not replaced; add --overwrite, or choose another name.")
    conditions = make_conditions(recipe.env_id, arguments.episodes, FIRST_REPORTED_SEED, recipe.training.dataset)
    with replace_files(folder) as unfinished:
        file = unfinished / path.name
        save_checkpoint(file, model, info, arguments.half)
        model, _ = load_checkpoint(file)
        write_card(file.with_suffix(".md"), recipe, model, conditions, f"runs/{arguments.run.name}", timed=False)
    print(f"written to {path}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
