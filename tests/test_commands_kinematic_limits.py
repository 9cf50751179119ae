import pytest

from dfplan.commands.kinematic_limits import main


def test_the_command_prints_a_line_for_each_maze(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kinematic_limits"])
    monkeypatch.setattr("dfplan.commands.kinematic_limits.compute_kinematic_limit", lambda maze, goal: len(goal))
    main()
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["kinematic", "limit,", "normalized", "fixed", "goal", "random", "goal"]
    assert [line.split() for line in lines] == [
        [f"maze2d-{maze}", "5.0", "6.0"] for maze in ("umaze", "medium", "large")
    ]


def test_an_unknown_argument_is_an_error_of_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kinematic_limits", "--nonsense"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "--nonsense" in capsys.readouterr().err
