"""Training and checkpoints. ``python -m dfplan.training`` runs the command ``dfplan-train``."""
