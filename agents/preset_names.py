"""The names of the planner's presets, without torch, so that a command line can offer them at once."""

PRESET_NAMES = ("fast", "default", "best")  # from the fastest to the best score
