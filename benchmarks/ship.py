"""``python -m dfplan.benchmarks.ship RUN NAME``: puts a run's checkpoint among those that ship, with its card."""

from pathlib import Path

from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED, Conditions
from dfplan.benchmarks.model_card import write_card
from dfplan.checkpoint import FILE_NAME, SHIPPED, load_checkpoint, save_checkpoint
from dfplan.envs.errors import CommandParser, InputError, exit_two_on_input_error, positive_integer
from dfplan.envs.files import replaced_together
from dfplan.training import saved_recipe


@exit_two_on_input_error
def main() -> None:
    """Write the checkpoint, load it again, and evaluate what ships rather than what was trained."""
    parser = CommandParser(prog="python -m dfplan.benchmarks.ship", description="Ship a finished run's checkpoint.")
    parser.add_argument("run", type=Path, help="folder of dfplan-train")
    parser.add_argument("name", help="what the checkpoint is to be called, such as maze2d-umaze-rnn")
    parser.add_argument("--half", action="store_true", help="two bytes a weight instead of four")
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint of that name")
    parser.add_argument("--episodes", type=positive_integer, default=100, help="episodes of the model card")
    arguments = parser.parse_args()
    if Path(arguments.name).name != arguments.name:
        raise InputError(f"a checkpoint's name has no folder in it, as {arguments.name} has.")
    recipe = saved_recipe(arguments.run)
    model, info = load_checkpoint(arguments.run / FILE_NAME)
    if info.get("step") != recipe.training.steps:
        raise InputError(f"the run stands at step {info.get('step')} of {recipe.training.steps}; finish it first.")
    path = SHIPPED / f"{arguments.name}.safetensors"
    for file in (path, path.with_suffix(".md")):
        if file.exists() and not arguments.overwrite:
            raise InputError(f"{file} exists and stays; add --overwrite, or choose another name.")
    conditions = Conditions(recipe.env_id, arguments.episodes, FIRST_REPORTED_SEED)
    with replaced_together(SHIPPED) as unfinished:
        file = unfinished / path.name
        save_checkpoint(file, model, info, arguments.half)
        model, _ = load_checkpoint(file)
        write_card(file.with_suffix(".md"), recipe, model, conditions, f"runs/{arguments.run.name}", timed=False)
    print(f"written to {path}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
