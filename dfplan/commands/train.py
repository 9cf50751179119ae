"""``dfplan-train``: trains a model of any world, evaluates it, and writes a checkpoint with its model card.

``torchrun --nproc-per-node N -m dfplan.training ...`` is the same command with N processes, which share each batch.
"""

import sys
import warnings
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import config_for
from dfplan.benchmarks.evaluation.conditions import FIRST_REPORTED_SEED, make_conditions
from dfplan.benchmarks.evaluation.environments import find_env_id, find_maze, find_world, read_task_by_id
from dfplan.benchmarks.evaluation.episodes import begin_first_episode, evaluate
from dfplan.benchmarks.evaluation.estimates import count_steps_to_arrival
from dfplan.benchmarks.evaluation.slots import find_goals
from dfplan.benchmarks.reporting.figures import draw_plans
from dfplan.benchmarks.reporting.provenance import read_commit
from dfplan.commands.model_card import (
    CARD_NAME,
    TRAINING_OPTIONS,
    choose_agents,
    format_option,
    is_untouched,
    name_backbone,
    write_card,
)
from dfplan.commands.runs import DETERMINES, WindowSizes, check_output_is_free, count_steps, refuse_doubles
from dfplan.commands.settings import Changes, change_recipe, merge_changes, read_assignments, read_config_file
from dfplan.config import DEMONSTRATIONS, PRECISIONS, Recipe
from dfplan.data.recording import Recording
from dfplan.data.recording_files import read_ogbench
from dfplan.envs.datasets import load_dataset
from dfplan.envs.layouts import Layout
from dfplan.envs.ogbench_mazes import generate_ogbench
from dfplan.envs.ogbench_names import find_ogbench
from dfplan.ground.command_line import (
    CommandParser,
    channels,
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
from dfplan.recipes import BACKBONE_SETTINGS, RECIPES, RECORDED_RECIPES, choose_recipe
from dfplan.task import REWARD_OF
from dfplan.training.trainer import SAVE_SECONDS, Progress, Trainer, load_recipe

PERIODIC_EPISODES, PERIODIC_SEED = 20, 0  # of the evaluations during training, by which recipes are chosen
MAZE_EPISODES, EPISODES = 100, 20  # of the model card: in D4RL's mazes, and in other worlds
SHOWN_PLANS = 6
TASK_OPTIONS = ("goal", "position", "velocity", "reward_of")


@exit_two_on_input_error
@report_error_once()
def main() -> None:
    """Run the command. All inputs are checked before anything is computed."""
    arguments = _make_parser().parse_args()
    arguments.data = find_ogbench(arguments.env)
    arguments.env = find_env_id(arguments.env)
    device = find_device(assign_device(arguments.device))
    read_commit()  # it is cached now, because another commit may be checked out before the card is written
    earlier, asked = _find_earlier(arguments), merge_changes(*_read_changes(arguments))["training"]
    recording = None if _is_generated(arguments, asked) else _load_recording(earlier, asked)
    recipe, processes = earlier or _choose_recipe(arguments, recording), find_processes()
    _check_batch_size(recipe.training.batch_size, processes)
    # How many updates fit into --minutes is not known yet.
    reaches = arguments.minutes or 0 < arguments.evaluate_every <= recipe.training.steps
    if arguments.episodes != 0 or (arguments.evaluate_every and reaches):
        _check_evaluation(recipe)
    with lock_folder(arguments.output) if processes.is_first else nullcontext():
        # Again, because another run may have started here before the folder was locked.
        recipe = _find_earlier(arguments) or recipe
        if recording is None:
            recording = _load_maze(recipe, processes.is_first)
        with processes.connect(device):
            _train(Trainer(recipe, recording, arguments.output, device, processes), arguments)


def _read_changes(arguments: Namespace) -> tuple[Changes, Changes]:
    """Return the settings in the configuration file, and those on the command line, which replace them.

    Raises:
        InputError: if the file cannot be read, or a setting is given twice on the command line.
    """
    given = {name: getattr(arguments, name) for name in TRAINING_OPTIONS if getattr(arguments, name) is not None}
    facts = {name: getattr(arguments, name) for name in TASK_OPTIONS if getattr(arguments, name) is not None}
    in_file = read_config_file(arguments.config, arguments.env) if arguments.config else {}
    if arguments.data is not None and not arguments.resume:
        of_data: Changes = {"training": {"dataset": str(arguments.data)}, "task": arguments.data.facts}
        in_file = merge_changes(of_data, in_file)
    assigned = read_assignments(arguments.set or [])
    _refuse_doubles(arguments, assigned, {"task": facts, "training": given})
    return merge_changes(in_file), merge_changes({"task": facts, "training": given}, assigned)


def _refuse_doubles(arguments: Namespace, assigned: Changes, given: Changes) -> None:
    """Raise ``InputError`` if an option and ``--set`` give the same setting."""
    for part, table in given.items():
        for setting in table:
            if setting in assigned.get(part, {}):
                raise InputError(f"{part}.{setting} is given twice: by {format_option(setting)} and by --set.")
    refuse_doubles(assigned, {name: getattr(arguments, name) for name in DETERMINES})


def _is_generated(arguments: Namespace, asked: dict[str, Any]) -> bool:
    """Return whether the data are those of a maze, which are generated or read in D4RL's format.

    Args:
        arguments: of the command.
        asked: settings of the training that the user has given.

    Raises:
        InputError: if the world is no maze and there is no recording of it.
    """
    maze = find_maze(arguments.env)
    if maze is not None:
        choose("recipe for the maze", maze, RECIPES)
        return True
    if "dataset" not in asked and not arguments.resume:
        raise InputError(
            f"--dataset is needed: data are generated for D4RL's mazes only, not for {arguments.env}; give a D4RL HDF5 "
            "file, an OGBench npz file, or a Minari id or folder."
        )
    return False


def _load_recording(earlier: Recipe | None, asked: dict[str, Any]) -> Recording:
    """Return the recording of a world that is no maze.

    Args:
        earlier: recipe of the run to resume; None for a new run.
        asked: settings of the training that the user has given.
    """
    if earlier is None:
        return _load_or_generate(asked["dataset"], asked.get("seed", 0)).take(asked.get("rows"))
    source = earlier.training
    recording = _load_or_generate(source.dataset, source.seed).take(source.rows)
    recording.check(earlier.model.task)
    return recording


def _load_or_generate(dataset: str, seed: int) -> Recording:
    """Return the recording in a file, or that of a data set of OGBench, which is generated."""
    name = find_ogbench(dataset)
    if name is None:
        return Recording.load(dataset)
    return Recording.from_rows(read_ogbench(generate_ogbench(name, seed, progress=True)), dataset)


def _load_maze(recipe: Recipe, progress: bool) -> Recording:
    """Return the recording of a maze, in which it may generate the data."""
    source, maze = recipe.training, find_maze(recipe.env_id)
    assert maze is not None  # ``_is_generated`` has found it
    columns = load_dataset(maze, source.dataset, source.rows, source.seed, progress)
    recording = Recording.from_rows(columns, source.dataset)
    recording.check(recipe.model.task)
    return recording


def _check_evaluation(recipe: Recipe) -> None:
    """Raise ``InputError`` if a model of the recipe cannot be evaluated in its environment."""
    world, task = find_world(recipe.env_id), recipe.model.task
    world.spaces.check(task, "the task", recipe.env_id)
    with world.open(1) as env:
        seeds: Any = [PERIODIC_SEED]
        observations, infos = env.reset(seed=seeds)
    if task.goal and find_goals(observations, infos, task) is None:
        raise InputError(
            f"the task has a goal, but {recipe.env_id} tells none, neither as desired_goal in observations nor as goal "
            "in infos, so no model can be evaluated there; train with --evaluate-every 0 --episodes 0."
        )


def _train(trainer: Trainer, arguments: Namespace) -> None:
    """Train the model, then evaluate it and write its card in the first process."""
    if arguments.resume:
        trainer.resume()
    if arguments.minutes:
        trainer.set_steps(count_steps(trainer, arguments.minutes))
    try:
        model = _run(trainer, arguments.evaluate_every)
    except KeyboardInterrupt:  # the state is not saved here, because an update may be incomplete
        message = f"\nstopped; up to {SAVE_SECONDS:.0f} seconds of training are lost; continue with --resume."
        sys.exit(message if trainer.processes.is_first else 1)
    if not trainer.processes.is_first:
        return
    folder, maze = trainer.output, find_maze(arguments.env)
    episodes = arguments.episodes
    if episodes is None:
        episodes = EPISODES if maze is None else MAZE_EPISODES
    if episodes:
        conditions = make_conditions(trainer.recipe.env_id, episodes, FIRST_REPORTED_SEED, trainer.config.dataset)
        try:
            write_card(folder / CARD_NAME, trainer.recipe, model, conditions, str(arguments.output))
        except InputError as error:
            raise InputError(f"the checkpoint {folder} is complete, but it has no card: {error}") from error
    name = str(arguments.data or arguments.env) if maze is None else f"maze2d-{maze}"
    print(f"the checkpoint is {folder}; try dfplan-bench {name} --checkpoint {folder}")


def _run(trainer: Trainer, evaluate_every: int) -> DiffusionForcing:
    if not trainer.processes.is_first:
        return trainer.run()
    with SummaryWriter(trainer.output / "tensorboard", purge_step=trainer.step + 1) as writer:
        return trainer.run(Reporter(writer, trainer, evaluate_every))


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
        evaluate_every: number of updates between evaluations; 0 for no evaluations.
    """

    def __init__(self, writer: SummaryWriter, trainer: Trainer, evaluate_every: int):
        self.writer, self.trainer, self.evaluate_every = writer, trainer, evaluate_every
        self.evaluated = trainer.step

    def __call__(self, progress: Progress) -> None:
        """Write loss, learning rate and throughput; evaluate the model after every ``evaluate_every`` updates."""
        self.writer.add_scalar("train/loss", progress.loss, progress.step)
        self.writer.add_scalar("train/learning_rate", progress.learning_rate, progress.step)
        self.writer.add_scalar("train/tokens_per_second", progress.tokens_per_second, progress.step)
        if self.evaluate_every and progress.step // self.evaluate_every > self.evaluated // self.evaluate_every:
            self.evaluated = progress.step
            try:
                self._evaluate(self.trainer.ema, progress.step)
            except InputError as error:  # the training must not be lost
                self.evaluate_every = 0
                warnings.warn(f"the model cannot be evaluated during training: {error}", stacklevel=2)

    def _evaluate(self, model: DiffusionForcing, step: int) -> None:
        settings = next(iter(choose_agents(self.trainer.recipe).values()))
        config = config_for(model, self.trainer.config.demonstrations, **settings)
        agent = DFPlanner(model, config)
        conditions = make_conditions(
            self.trainer.recipe.env_id, PERIODIC_EPISODES, PERIODIC_SEED, self.trainer.config.dataset
        )
        evaluation = evaluate(agent, conditions, f"evaluation at {step}")
        for name, values in (evaluation.scores | {"first_reach": count_steps_to_arrival(evaluation)}).items():
            if not np.isnan(values).all():  # scores that the world does not tell
                self.writer.add_scalar(f"evaluation/{name}", np.nanmean(values), step)
        if evaluation.layout is not None:
            self.writer.add_figure("plans", self._draw_plans(agent, evaluation.layout), step)
        self.writer.flush()

    def _draw_plans(self, agent: DFPlanner, layout: Layout):
        conditions = make_conditions(self.trainer.recipe.env_id, SHOWN_PLANS, PERIODIC_SEED)
        observation, goal = begin_first_episode(agent, conditions)
        agent.reset(goal=goal, seed=0)
        starts = observation.repeat(SHOWN_PLANS, axis=0)
        positions = np.concatenate([starts[:, None], agent.plan(starts).observations], axis=1)[..., :2]
        return draw_plans(layout, positions, goal, f"{SHOWN_PLANS} plans")


def _find_earlier(arguments: Namespace) -> Recipe | None:
    """Return the recipe of the run to resume; None for a new run.

    Raises:
        InputError: if a file would be replaced, or if options contradict the run to resume.
    """
    if not arguments.resume:
        check_output_is_free(arguments.output)
        return None
    recipe = load_recipe(arguments.output)
    _check_resumed(recipe, arguments, _read_changes(arguments)[1]["training"])
    return recipe


def _choose_recipe(arguments: Namespace, recording: Recording | None) -> Recipe:
    """Return the recipe of the world with the changes of the user.

    Options for the backbone and for sizes in steps replace settings in the configuration file, and all other options
    replace both.

    Args:
        arguments: of the command.
        recording: of a world that is no maze; None for a maze.

    Raises:
        InputError: if options contradict each other, or the recording is not of the world.
    """
    in_file, on_line = _read_changes(arguments)
    asked = merge_changes(in_file, on_line)
    if recording is None:
        is_recorded = asked["training"].get("demonstrations") == "recorded"
        recipe = (RECORDED_RECIPES if is_recorded else RECIPES)[str(find_maze(arguments.env))]
        if asked["training"].get("dataset", "generate") != "generate":
            recipe = replace(recipe, training=replace(recipe.training, rows=None))
    else:
        recipe = choose_recipe(arguments.env, read_task_by_id(arguments.env, **asked["task"]), recording)
    recipe = change_recipe(recipe, in_file)
    recipe = change_recipe(recipe, {"model": BACKBONE_SETTINGS.get(arguments.backbone, {})})
    return change_recipe(WindowSizes(arguments.horizon, arguments.frame_stack).change(recipe), on_line)


def _check_resumed(recipe: Recipe, arguments: Namespace, given: dict[str, Any]) -> None:
    """Raise ``InputError`` if an option contradicts the run to resume, or its card was changed by hand."""
    folder = arguments.output
    if arguments.minutes:
        raise InputError(f"the run in {folder} already has a number of steps; leave out --minutes.")
    if recipe.env_id != arguments.env:
        raise InputError(f"the run in {folder} is of {recipe.env_id}, not of {arguments.env}.")
    if arguments.backbone not in (None, name_backbone(recipe.model)):
        raise InputError(f"the run in {folder} has the backbone {name_backbone(recipe.model)}; leave out --backbone.")
    for name in (*TASK_OPTIONS, "horizon", "frame_stack", "config", "set"):
        if getattr(arguments, name) is not None:
            raise InputError(f"the run in {folder} keeps its settings; leave out {format_option(name)}.")
    card = folder / CARD_NAME
    if arguments.episodes != 0 and card.exists() and not is_untouched(card):
        raise InputError(
            f"{card} was changed by hand and is not replaced; move it, or write no card with --episodes 0."
        )
    for name, value in given.items():
        if value != getattr(recipe.training, name):
            saved = f"{format_option(name)} {getattr(recipe.training, name)}"
            raise InputError(f"the run in {folder} has {saved}, not {value}; a resumed run keeps its settings.")


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog="dfplan-train", description="Train a Diffusion Forcing model on a recording of any Gymnasium world."
    )
    parser.set_defaults(data=None)  # the data set of OGBench that ``env`` names
    mazes = ", ".join(f"maze2d-{maze}" for maze in RECIPES)
    names = f"one of {mazes}, or a data set of OGBench's point mazes: pointmaze-giant-stitch-v0"
    parser.add_argument("env", help=f"Gymnasium's id, such as Pendulum-v1 or module:Env-v0, {names}")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the run: checkpoint, card, state, TensorBoard"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes",
        type=positive_number,
        help="approximate duration of all updates; their number is computed from it once",
    )
    length.add_argument("--steps", type=positive_integer, help="number of updates (default: that of the recipe)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output with its settings")
    dataset = "D4RL HDF5 file, OGBench npz file, Minari id or folder; in mazes generate (default), d4rl, or such a file"
    parser.add_argument("--dataset", help=dataset)
    parser.add_argument("--rows", type=positive_integer, help="number of rows of the data set to use")
    parser.add_argument(
        "--seed", type=seed_number, help="seed of data, initial weights, batches and noise (default: 0)"
    )
    demonstrations = "re-executed: the recorded paths driven faster (default in mazes), or recorded: as they are"
    parser.add_argument("--demonstrations", choices=DEMONSTRATIONS, help=demonstrations)
    parser.add_argument("--batch-size", type=positive_integer, help="number of windows in each update")
    parser.add_argument(
        "--backbone", choices=tuple(BACKBONE_SETTINGS), help="kind of network (default: that of the recipe)"
    )
    parser.add_argument(
        "--level-sampler", choices=tuple(LEVEL_SAMPLERS), help="sampler of noise levels, see dfplan/model/levels.py"
    )
    goal = "observation channels for which a goal gives values, such as 0,1, or none (default: what the world says)"
    parser.add_argument("--goal", type=channels, help=goal)
    parser.add_argument(
        "--position", type=channels, help="observation channels that are positions, one for each action"
    )
    parser.add_argument("--velocity", type=channels, help="observation channels that are the velocities of --position")
    reward_of = "what the reward in a row is about: the step to the next row (default), or the state of the row"
    parser.add_argument("--reward-of", choices=REWARD_OF, help=reward_of)
    parser.add_argument(
        "--horizon", type=positive_integer, help="steps of the longest plan, rounded up to whole tokens"
    )
    parser.add_argument("--frame-stack", type=positive_integer, help="environment steps per token")
    settings = "any other setting of model, training or task, such as model.width=64; may be repeated"
    parser.add_argument("--set", action="append", metavar="PART.SETTING=VALUE", help=settings)
    config = "TOML or JSON file with settings in the tables model, training and task; a run's recipe.json is one, too"
    parser.add_argument("--config", type=Path, help=config)
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
        "--episodes",
        type=natural_number,
        help=f"number of episodes of the model card, 0 for no card (default: {EPISODES}; in mazes {MAZE_EPISODES})",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    return parser


if __name__ == "__main__":
    main()
