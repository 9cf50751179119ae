"""``dfplan-train``: trains a model on a maze, evaluates it, and writes a checkpoint with its model card.

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
from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED, Conditions, begin_first_episode, evaluate
from dfplan.benchmarks.evaluation.estimates import count_steps_to_arrival
from dfplan.benchmarks.reporting.figures import draw_plans
from dfplan.benchmarks.reporting.provenance import read_commit
from dfplan.commands.model_card import CARD_NAME, choose_agents, format_option, is_untouched, name_backbone, write_card
from dfplan.config import DEMONSTRATIONS, PRECISIONS, Recipe
from dfplan.data.recording import Recording
from dfplan.envs.datasets import load_dataset
from dfplan.envs.layouts import LAYOUTS, parse_maze_name
from dfplan.ground.command_line import (
    CommandParser,
    exit_two_on_input_error,
    natural_number,
    positive_integer,
    positive_number,
    seed_number,
    share,
)
from dfplan.ground.devices import find_device
from dfplan.ground.errors import InputError, choose
from dfplan.ground.files import lock_folder
from dfplan.ground.processes import Processes, assign_device, find_processes, report_error_once
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.levels import LEVEL_SAMPLERS
from dfplan.recipes import BACKBONE_SETTINGS, RECIPES, RECORDED_RECIPES
from dfplan.training.checkpoint import FILE_NAME
from dfplan.training.trainer import RECIPE_NAME, SAVE_SECONDS, STATE_NAME, Progress, Trainer, load_recipe

PERIODIC_EPISODES, PERIODIC_SEED = 20, 0  # of the evaluations during training, by which recipes are chosen
SHOWN_PLANS = 6
# The settings of the training that have a command line option.
RECIPE_OPTIONS = (
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
@report_error_once()
def main() -> None:
    """Run the command. All inputs are checked before anything is computed."""
    arguments = _make_parser().parse_args()
    maze, device = parse_maze_name(arguments.maze), find_device(assign_device(arguments.device))
    choose("recipe for the maze", maze, RECIPES)
    read_commit()  # it is cached now, because another commit may be checked out before the card is written
    recipe, processes = _choose_recipe(arguments, maze), find_processes()
    _check_batch_size(recipe.training.batch_size, processes)
    source, progress = recipe.training, processes.is_first
    with lock_folder(arguments.output) if processes.is_first else nullcontext():
        recipe = _choose_recipe(
            arguments, maze
        )  # again, because another run may have started here before the folder was locked
        recording = Recording.from_rows(load_dataset(maze, source.dataset, source.rows, source.seed, progress))
        with processes.connect(device):
            _train(Trainer(recipe, recording, arguments.output, device, processes), arguments, maze)


def _train(trainer: Trainer, arguments: Namespace, maze: str) -> None:
    """Train the model, then evaluate it and write its card in the first process."""
    if arguments.resume:
        trainer.resume()
    if arguments.minutes:
        trainer.set_steps(max(1, round(arguments.minutes * 60 / trainer.measure_seconds_per_step())))
    try:
        model = _run(trainer, maze, arguments.evaluate_every)
    except KeyboardInterrupt:  # the state is not saved here, because an update may be incomplete
        message = f"\nstopped; up to {SAVE_SECONDS:.0f} seconds of training are lost; continue with --resume."
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
    """Raise an ``InputError`` if the windows of a batch cannot be divided equally among the processes."""
    if batch_size % processes.count:
        raise InputError(
            f"a batch of {batch_size} windows cannot be divided equally among {processes.count} processes; "
            f"choose a --batch-size that is a multiple of {processes.count}, or another --nproc-per-node."
        )


class Reporter:
    """Writes the progress of the training to TensorBoard, and periodically evaluates the averaged model.

    Args:
        writer: of TensorBoard.
        trainer: trains the model.
        maze: name of the maze.
        evaluate_every: number of updates between evaluations; 0 for no evaluations.
    """

    def __init__(self, writer: SummaryWriter, trainer: Trainer, maze: str, evaluate_every: int):
        self.writer, self.trainer, self.maze, self.evaluate_every = writer, trainer, maze, evaluate_every
        self.evaluated = trainer.step

    def __call__(self, progress: Progress) -> None:
        """Write loss, learning rate and throughput; evaluate the model after every ``evaluate_every`` updates."""
        self.writer.add_scalar("train/loss", progress.loss, progress.step)
        self.writer.add_scalar("train/learning_rate", progress.learning_rate, progress.step)
        self.writer.add_scalar("train/tokens_per_second", progress.tokens_per_second, progress.step)
        if self.evaluate_every and progress.step // self.evaluate_every > self.evaluated // self.evaluate_every:
            self.evaluated = progress.step
            self._evaluate(self.trainer.ema, progress.step)

    def _evaluate(self, model: DiffusionForcing, step: int) -> None:
        settings = next(iter(choose_agents(self.trainer.recipe).values()))
        config = config_for(model, self.trainer.config.demonstrations, **settings)
        agent = DFPlanner(model, config)
        conditions = Conditions(self.trainer.recipe.env_id, PERIODIC_EPISODES, PERIODIC_SEED)
        evaluation = evaluate(agent, conditions, f"evaluation at {step}")
        for name, values in (evaluation.scores | {"first_reach": count_steps_to_arrival(evaluation)}).items():
            self.writer.add_scalar(f"evaluation/{name}", values.mean(), step)
        self.writer.add_figure("plans", self._draw_plans(agent), step)
        self.writer.flush()

    def _draw_plans(self, agent: DFPlanner):
        conditions = Conditions(self.trainer.recipe.env_id, SHOWN_PLANS, PERIODIC_SEED)
        observation, goal = begin_first_episode(agent, conditions)
        agent.reset(goal=goal, seed=0)
        starts = observation.repeat(SHOWN_PLANS, axis=0)
        positions = np.concatenate([starts[:, None], agent.plan(starts).observations], axis=1)[..., :2]
        return draw_plans(LAYOUTS[self.maze], positions, goal, f"{SHOWN_PLANS} plans")


def _choose_recipe(arguments: Namespace, maze: str) -> Recipe:
    """Return the recipe of the run to resume, or the maze's recipe with the changes of the command line.

    Raises:
        InputError: if a file would be replaced, or if options contradict the run to resume.
    """
    given = {name: getattr(arguments, name) for name in RECIPE_OPTIONS if getattr(arguments, name) is not None}
    if arguments.resume:
        recipe = load_recipe(arguments.output)
        if arguments.minutes:
            raise InputError(f"the run in {arguments.output} already has a number of steps; leave out --minutes.")
        if recipe.env_id != RECIPES[maze].env_id:
            raise InputError(f"the run in {arguments.output} is of {recipe.env_id}, not of {RECIPES[maze].env_id}.")
        if arguments.backbone not in (None, name_backbone(recipe.model)):
            raise InputError(
                f"the run in {arguments.output} has the backbone {name_backbone(recipe.model)}; leave out --backbone."
            )
        card = arguments.output / CARD_NAME
        if arguments.episodes and card.exists() and not is_untouched(card):
            raise InputError(
                f"{card} was changed by hand and is not replaced; move it, or write no card with --episodes 0."
            )
        for name, value in given.items():
            if value != getattr(recipe.training, name):
                saved = f"{format_option(name)} {getattr(recipe.training, name)}"
                raise InputError(
                    f"the run in {arguments.output} has {saved}, not {value}; a resumed run keeps its settings."
                )
        return recipe
    for name in (RECIPE_NAME, STATE_NAME, FILE_NAME, CARD_NAME):
        if (arguments.output / name).exists():
            raise InputError(
                f"{arguments.output / name} exists and is not replaced; add --resume, or choose another --output."
            )
    if given.get("dataset", "generate") != "generate":
        given.setdefault("rows", None)
    recipe = (RECORDED_RECIPES if arguments.demonstrations == "recorded" else RECIPES)[maze]
    model = replace(recipe.model, **BACKBONE_SETTINGS.get(arguments.backbone, {}))
    return replace(recipe, model=model, training=replace(recipe.training, **given))


def _make_parser() -> CommandParser:
    parser = CommandParser(prog="dfplan-train", description="Train a Diffusion Forcing model on a D4RL maze.")
    parser.add_argument("maze", help=f"one of {', '.join(f'maze2d-{maze}' for maze in RECIPES)}, with or without -v1")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the run: checkpoint, card, state, TensorBoard"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=positive_number, help="approximate duration; the number of steps is computed from it once"
    )
    length.add_argument("--steps", type=positive_integer, help="number of updates (default: that of the maze's recipe)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output with its settings")
    parser.add_argument("--dataset", help="generate (default), d4rl, or the path of a D4RL HDF5 file")
    parser.add_argument("--rows", type=positive_integer, help="number of rows of the data set to use")
    parser.add_argument(
        "--seed", type=seed_number, help="seed of data, initial weights, batches and noise (default: 0)"
    )
    demonstrations = "re-executed (default): the recorded paths driven faster, or recorded: as they are"
    parser.add_argument("--demonstrations", choices=DEMONSTRATIONS, help=demonstrations)
    parser.add_argument("--batch-size", type=positive_integer, help="number of windows in each update")
    parser.add_argument(
        "--backbone", choices=tuple(BACKBONE_SETTINGS), help="kind of network (default: that of the recipe)"
    )
    parser.add_argument(
        "--level-sampler", choices=tuple(LEVEL_SAMPLERS), help="sampler of noise levels, see dfplan/model/levels.py"
    )
    parser.add_argument("--goal-known", type=share, help="share of windows with a known goal, 0 to 1")
    parser.add_argument(
        "--masked-tail", type=share, help="share of windows whose tokens after a random one are masked, 0 to 1"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="precision of the network; auto (default) measures which one is faster"
    )
    parser.add_argument(
        "--evaluate-every", type=natural_number, default=1000, help="number of updates between evaluations; 0 for none"
    )
    parser.add_argument(
        "--episodes", type=natural_number, default=100, help="number of episodes of the model card; 0 for no card"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    return parser


if __name__ == "__main__":
    main()
