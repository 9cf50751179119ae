"""The commands: train, compare agents, generate data, ship a checkpoint, and keep README and results up to date."""
