"""``dfplan-train``: data, training, TensorBoard, periodic evaluation, and a checkpoint with its model card.

``torchrun --nproc-per-node N -m dfplan.training ...`` is the same command with N processes, which share each batch.
"""

import sys
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import config_for
from dfplan.benchmarks.estimates import arrivals
from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED, Conditions, evaluate, first_observation
from dfplan.benchmarks.figures import plan_over_maze
from dfplan.benchmarks.model_card import CARD_NAME, backbone_name, evaluated_agents, flag, is_untouched, write_card
from dfplan.benchmarks.provenance import commit
from dfplan.checkpoint import FILE_NAME
from dfplan.config import BACKBONE_SETTINGS, DEMONSTRATIONS, PRECISIONS, RECIPES, RECORDED_RECIPES, Recipe
from dfplan.devices import find_device
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.distributed import Processes, launched, one_voice, own_device
from dfplan.envs.datasets import load_dataset
from dfplan.envs.errors import (
    CommandParser,
    InputError,
    choose,
    exit_two_on_input_error,
    natural_number,
    positive_integer,
    positive_number,
    seed_number,
    share,
)
from dfplan.envs.files import locked
from dfplan.envs.layouts import LAYOUTS, maze_name
from dfplan.levels import LEVEL_SAMPLERS
from dfplan.training import RECIPE_NAME, SAVE_SECONDS, STATE_NAME, Progress, Trainer, saved_recipe

PERIODIC_EPISODES, PERIODIC_SEED = 20, 0  # of the evaluation during training, by which recipes are chosen
SHOWN_PLANS = 6
# Settings of training with a flag of their own.
CHANGEABLE = (
    "demonstrations",
    "steps",
    "batch_size",
    "precision",
    "level_sampler",
    "goal_known",
    "masked_tail",
    "dataset",
    "rows",
    "seed",
)


@exit_two_on_input_error
@one_voice()
def main() -> None:
    """Run the command; everything the user gave is checked before anything is computed."""
    arguments = _parser().parse_args()
    maze, device = maze_name(arguments.maze), find_device(own_device(arguments.device))
    choose("recipe for the maze", maze, RECIPES)
    commit()  # of the code that runs now, not of what is checked out when the card is written
    recipe, processes = _recipe(arguments, maze), launched()
    _check_batch_size(recipe.training.batch_size, processes)
    source, progress = recipe.training, processes.is_first
    with locked(arguments.output) if processes.is_first else nullcontext():
        recipe = _recipe(arguments, maze)  # once more: until now another run may have begun here
        dataset = load_dataset(maze, source.dataset, source.rows, source.seed, progress)
        with processes.connected(device):
            _train(Trainer(recipe, dataset, arguments.output, device, processes), arguments, maze)


def _train(trainer: Trainer, arguments: Namespace, maze: str) -> None:
    """Train to the end, and say in the model card what came out; only the first process reports."""
    if arguments.resume:
        trainer.resume()
    if arguments.minutes:
        trainer.set_steps(max(1, round(arguments.minutes * 60 / trainer.seconds_per_step())))
    try:
        model = _run(trainer, maze, arguments.evaluate_every)
    except KeyboardInterrupt:  # not saved here: an update may be half done
        message = f"\nstopped; the last {SAVE_SECONDS:.0f} seconds are lost, go on with --resume."
        sys.exit(message if trainer.processes.is_first else 1)
    if not trainer.processes.is_first:
        return
    folder = trainer.output
    if arguments.episodes:
        conditions = Conditions(trainer.recipe.env_id, arguments.episodes, FIRST_REPORTED_SEED)
        write_card(folder / CARD_NAME, trainer.recipe, model, conditions, str(arguments.output))
    print(f"the checkpoint is {folder}; try dfplan-bench maze2d-{maze} --checkpoint {folder}")


def _run(trainer: Trainer, maze: str, evaluate_every: int) -> DiffusionForcing:
    if not trainer.processes.is_first:
        return trainer.run()
    with SummaryWriter(trainer.output / "tensorboard", purge_step=trainer.step + 1) as writer:
        return trainer.run(Reporter(writer, trainer, maze, evaluate_every))


def _check_batch_size(batch_size: int, processes: Processes) -> None:
    """Raise ``InputError`` unless every process has as many windows of a batch as the others."""
    if batch_size % processes.count:
        raise InputError(
            f"a batch of {batch_size} windows cannot be shared evenly by {processes.count} processes; "
            f"choose a --batch-size that is a multiple of {processes.count}, or another --nproc-per-node."
        )


class Reporter:
    """Tells TensorBoard of every logged update, and now and then what the averaged model plans and scores."""

    def __init__(self, writer: SummaryWriter, trainer: Trainer, maze: str, evaluate_every: int):
        self.writer, self.trainer, self.maze, self.evaluate_every = writer, trainer, maze, evaluate_every
        self.evaluated = trainer.step

    def __call__(self, progress: Progress) -> None:
        """Write loss, learning rate and throughput; evaluate when it is time."""
        self.writer.add_scalar("train/loss", progress.loss, progress.step)
        self.writer.add_scalar("train/learning_rate", progress.learning_rate, progress.step)
        self.writer.add_scalar("train/tokens_per_second", progress.tokens_per_second, progress.step)
        if self.evaluate_every and progress.step // self.evaluate_every > self.evaluated // self.evaluate_every:
            self.evaluated = progress.step
            self._evaluate(self.trainer.ema, progress.step)

    def _evaluate(self, model: DiffusionForcing, step: int) -> None:
        settings = next(iter(evaluated_agents(self.trainer.recipe).values()))
        config = config_for(model, self.trainer.config.demonstrations, **settings)
        agent = DFPlanner(model, config)
        conditions = Conditions(self.trainer.recipe.env_id, PERIODIC_EPISODES, PERIODIC_SEED)
        evaluation = evaluate(agent, conditions, f"evaluation at {step}")
        for name, values in (evaluation.scores | {"first_reach": arrivals(evaluation)}).items():
            self.writer.add_scalar(f"evaluation/{name}", values.mean(), step)
        self.writer.add_figure("plans", self._plans(agent), step)
        self.writer.flush()

    def _plans(self, agent: DFPlanner):
        conditions = Conditions(self.trainer.recipe.env_id, SHOWN_PLANS, PERIODIC_SEED)
        observation, goal = first_observation(agent, conditions)
        agent.reset(goal=goal, seed=0)
        starts = observation.repeat(SHOWN_PLANS, axis=0)
        positions = np.concatenate([starts[:, None], agent.plan(starts).observations], axis=1)[..., :2]
        return plan_over_maze(LAYOUTS[self.maze], positions, goal, f"{SHOWN_PLANS} plans")


def _recipe(arguments: Namespace, maze: str) -> Recipe:
    """Return the recipe of the run that is resumed, or the maze's own with what the command line changes."""
    given = {name: getattr(arguments, name) for name in CHANGEABLE if getattr(arguments, name) is not None}
    if arguments.resume:
        recipe = saved_recipe(arguments.output)
        if arguments.minutes:
            raise InputError(f"the run in {arguments.output} has its number of steps already; leave --minutes out.")
        if recipe.env_id != RECIPES[maze].env_id:
            raise InputError(f"the run in {arguments.output} is on {recipe.env_id}, not on {RECIPES[maze].env_id}.")
        if arguments.backbone not in (None, backbone_name(recipe.model)):
            raise InputError(
                f"the run in {arguments.output} is of a {backbone_name(recipe.model)}; leave --backbone out."
            )
        card = arguments.output / CARD_NAME
        if arguments.episodes and card.exists() and not is_untouched(card):
            raise InputError(f"{card} was changed by hand and stays; move it, or write no card with --episodes 0.")
        for name, value in given.items():
            if value != getattr(recipe.training, name):
                saved = f"{flag(name)} {getattr(recipe.training, name)}"
                raise InputError(
                    f"the run in {arguments.output} has {saved}, not {value}; a resumed run keeps its settings."
                )
        return recipe
    for name in (RECIPE_NAME, STATE_NAME, FILE_NAME, CARD_NAME):
        if (arguments.output / name).exists():
            raise InputError(f"{arguments.output / name} exists and stays; add --resume, or choose another --output.")
    if given.get("dataset", "generate") != "generate":
        given.setdefault("rows", None)
    recipe = (RECORDED_RECIPES if arguments.demonstrations == "recorded" else RECIPES)[maze]
    model = replace(recipe.model, **BACKBONE_SETTINGS.get(arguments.backbone, {}))
    return replace(recipe, model=model, training=replace(recipe.training, **given))


def _parser() -> CommandParser:
    parser = CommandParser(prog="dfplan-train", description="Train a Diffusion Forcing model on a D4RL maze.")
    parser.add_argument(
        "maze", help=f"one of {', '.join(f'maze2d-{maze}' for maze in RECIPES)}; the -v1 may be left out"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the run: checkpoint, card, state, TensorBoard"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=positive_number, help="train about so long; the number of steps is measured once"
    )
    length.add_argument("--steps", type=positive_integer, help="updates (default: the maze's recipe)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output, with its settings")
    parser.add_argument("--dataset", help="generate (default), d4rl, or the path of a D4RL HDF5 file")
    parser.add_argument("--rows", type=positive_integer, help="rows of the data set to use")
    parser.add_argument(
        "--seed", type=seed_number, help="decides data, initial weights, batches and noise (default: 0)"
    )
    demonstrations = "re-executed (default): the recorded ways driven faster, or recorded: as they are"
    parser.add_argument("--demonstrations", choices=DEMONSTRATIONS, help=demonstrations)
    parser.add_argument("--batch-size", type=positive_integer, help="windows in each update")
    parser.add_argument("--backbone", choices=tuple(BACKBONE_SETTINGS), help="network (default: the recipe's)")
    parser.add_argument("--level-sampler", choices=tuple(LEVEL_SAMPLERS), help="how noise levels are drawn (levels.py)")
    parser.add_argument("--goal-known", type=share, help="share of windows whose goal is shown to the model, 0 to 1")
    parser.add_argument(
        "--masked-tail", type=share, help="share of windows whose tokens behind a random one are masked, 0 to 1"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="auto (default) measures which is faster")
    parser.add_argument(
        "--evaluate-every", type=natural_number, default=1000, help="steps between evaluations; 0 for none"
    )
    parser.add_argument(
        "--episodes", type=natural_number, default=100, help="episodes of the model card; 0 for no card"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    return parser


if __name__ == "__main__":
    main()
