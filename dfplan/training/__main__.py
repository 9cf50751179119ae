"""Run the command ``dfplan-train``: ``python -m dfplan.training``, or ``torchrun ... -m dfplan.training``."""

from dfplan.commands.train import main

main()
