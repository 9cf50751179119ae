"""The model card beside a checkpoint: what it is, how it was made, and what it scores."""

import json
import os
from dataclasses import asdict

from dfplan.benchmarks.evaluation import Evaluation
from dfplan.benchmarks.report import INTERVALS, processor, scores_table, versions
from dfplan.config import Recipe

CARD_NAME = "README.md"


def model_card(recipe: Recipe, evaluations: dict[str, Evaluation], command: str) -> str:
    """Return the card in Markdown; ``evaluations`` has one for each mode of the agent."""
    conditions = next(iter(evaluations.values())).conditions
    training = recipe.training
    source = f"generated, seed {training.seed}" if training.dataset == "generate" else training.dataset
    return f"""\
# Diffusion Forcing on {conditions.env_id}

Trained by `{command}`:
{training.steps} updates of {training.batch_size} windows of {recipe.model.horizon} steps,
from {training.rows or "all"} rows ({source}).
Versions: {", ".join(f"{name} {number}" for name, number in versions().items())}; {processor()}, {os.cpu_count()} cores.

## Scores

{conditions.episodes} episodes, seed {conditions.seed}, {conditions.goal} goal. {INTERVALS}

{scores_table(evaluations)}

## Recipe

```json
{json.dumps(asdict(recipe), indent=2)}
```
"""
