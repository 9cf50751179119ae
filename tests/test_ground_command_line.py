import pytest

from dfplan.ground import command_line
from dfplan.ground.command_line import CommandParser
from dfplan.ground.errors import InputError


def test_a_users_mistake_ends_a_command_with_one_sentence_and_status_two(capsys):
    @command_line.exit_two_on_input_error
    def main():
        raise InputError("the file is missing.")

    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 2
    assert capsys.readouterr().err.strip().endswith("the file is missing.")


@pytest.mark.parametrize("arguments", [["--rows", "-3"], ["--rows", "1.5"], ["--row", "3"], ["--colour"], ["--rows"]])
def test_an_error_of_the_parser_is_one_line_without_the_usage(arguments, capsys):
    parser = CommandParser(prog="dfplan-data")
    parser.add_argument("--rows", type=command_line.positive_integer)
    with pytest.raises(InputError) as complaint:
        parser.parse_args(arguments)
    assert "\n" not in str(complaint.value) and "usage" not in str(complaint.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (command_line.positive_integer, {"1": 1, "20": 20}, ["0", "-1", "x", "1.0", ""]),
        (command_line.natural_number, {"0": 0, "7": 7}, ["-1", "x"]),
        (command_line.positive_number, {"0.5": 0.5, "1e-3": 0.001}, ["0", "-1", "nan", "inf", "x"]),
        (command_line.non_negative_number, {"0": 0.0, "2": 2.0}, ["-0.1", "nan", "inf"]),
    ],
)
def test_numbers_on_the_command_line_are_checked(kind, good, bad):
    assert {text: kind(text) for text in good} == good
    parser = CommandParser()
    parser.add_argument("--number", type=kind)
    for text in bad:
        with pytest.raises(InputError, match="expected a"):
            parser.parse_args([f"--number={text}"])


def test_the_help_shows_defaults_of_options_that_have_one():
    parser = CommandParser(prog="dfplan-data")
    parser.add_argument("--seed", default=3, help="seed")
    parser.add_argument("--rows", help="rows (default: all)")
    assert "seed (default: 3)" in parser.format_help() and "None" not in parser.format_help()
