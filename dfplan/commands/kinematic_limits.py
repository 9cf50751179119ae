"""``python -m dfplan.commands.kinematic_limits``: prints the highest normalized scores that any agent can have."""

from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.reporting.published import MAZES
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error


@exit_two_on_input_error
def main() -> None:
    """Print the limits of the three mazes, for the fixed goal and for random goals."""
    text = "Print the highest normalized score that any agent can have in each maze."
    CommandParser(prog="python -m dfplan.commands.kinematic_limits", description=text).parse_args()
    print("kinematic limit, normalized      fixed goal  random goal")
    for maze in MAZES:
        fixed, random = (compute_kinematic_limit(maze, goal) for goal in ("fixed", "random"))
        print(f"maze2d-{maze:<25} {fixed:10.1f}  {random:11.1f}")


if __name__ == "__main__":
    main()
