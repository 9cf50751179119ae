"""The part of the study ``corruption`` about memory: agents with different histories in the cue maze (§4.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Run
from dfplan.benchmarks.reporting.charts import COLOURS
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK, draw_layout, draw_marks, draw_path
from dfplan.benchmarks.small_models import train_small_model
from dfplan.benchmarks.worlds.cue_maze import CUES, LAYOUT, CueOutcome, generate_cue_demonstrations, run_cue_maze
from dfplan.config import ModelConfig, Recipe, TrainingConfig

MODEL = ModelConfig(num_tokens=22, width=96, depth=3)
EMA_DECAY = 0.99  # the default would average over the beginning of a training of a thousand updates
SHOWN_EPISODES = 24  # number of episodes drawn: the first ones, of alternating cues
PANEL_SIZE = (2.9, 4.2)  # inches


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison of agents with different histories.

    Attributes:
        demonstrations: number of demonstrations in the training data.
        training_steps: number of training updates.
        episodes: number of episodes of each agent.
        histories: numbers of executed tokens that agents see; 0 is an agent without memory. Two more agents are
            added: one that sees its whole past, and one without memory that plans once.
        open_loop_horizon: steps between plans.
        controller: of all agents; it must track plans at their own times.
        model: sizes of the network. Both its longest plan and its longest history cover a whole demonstration.
    """

    demonstrations: int
    training_steps: int
    episodes: int
    histories: tuple[int, ...]
    open_loop_horizon: int = 20
    controller: str = "pd"
    model: ModelConfig = MODEL

    @property
    def contenders(self) -> dict[str, dict[str, Any]]:
        """Name -> settings of the planner: the history that the agent sees, and how often it plans."""
        steps, whole_past = self.open_loop_horizon, self.model.num_tokens - 1
        named = {self._name(tokens): tokens for tokens in self.histories} | {"whole past": whole_past}
        contenders = {name: {"history": tokens, "open_loop_horizon": steps} for name, tokens in named.items()}
        return contenders | {"one plan": {"history": 0, "open_loop_horizon": None}}

    def _name(self, tokens: int) -> str:
        return f"{tokens * self.model.frame_stack} steps of history" if tokens else "memoryless"


def study(settings: Settings, run: Run) -> dict[str, "CueOutcome"]:
    """Train one model; return what agents with this model and different histories do."""
    training = TrainingConfig(
        steps=settings.training_steps,
        goal_known=0.0,
        goal_on_the_way=0.0,
        ema_decay=EMA_DECAY,
        rows=None,
        seed=TRAINING_SEEDS[0],
    )
    dataset = generate_cue_demonstrations(settings.demonstrations, training.seed)
    model = train_small_model(Recipe(LAYOUT.name, settings.model, training), dataset, run, "cue-maze")
    outcomes = {}
    for name, own in settings.contenders.items():
        agent = DFPlanner(model, PlannerConfig(controller=settings.controller, goal_token=False, **own))
        outcomes[name] = run_cue_maze(
            agent, settings.episodes, run.seed, 2 * settings.model.horizon, f"cue maze, {name}"
        )
    return outcomes


def draw_outcomes(outcomes: Mapping[str, CueOutcome]) -> Figure:
    """Return a figure with one panel per agent: its first episodes until their arrival, coloured by cue."""
    size = (PANEL_SIZE[0] * len(outcomes), PANEL_SIZE[1])
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    colours, norm = ListedColormap(COLOURS[: len(CUES)]), Normalize(0, len(CUES) - 1)
    for axes, (name, found) in zip(figure.subplots(1, len(outcomes), squeeze=False)[0], outcomes.items()):
        draw_layout(axes, LAYOUT)
        for cue, path, arrival in zip(found.cues[:SHOWN_EPISODES], found.paths, found.arrivals):
            walked = path[: arrival + 1]
            draw_path(axes, walked, np.full(len(walked), float(cue)), colours, norm).set(alpha=0.7, linewidth=1.2)
            draw_marks(axes, path[0], None)
        axes.set_title(
            f"{name}\nright branch {found.estimate_shares()['right branch'].value:.0%}", fontsize=10, color=INK
        )
    handles = [Line2D([], [], color=colour, label=f"cue: {cue}") for colour, cue in zip(COLOURS, CUES)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CUES), frameon=False, fontsize=9)
    return figure
