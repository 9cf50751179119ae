import json
import sys

import numpy as np
import pytest

from dfplan.benchmarks import bench, contenders, evaluation
from dfplan.benchmarks.bench import main
from dfplan.checkpoint import save_checkpoint


class StillAgent:
    """Never moves."""

    def reset(self, goal=None, seed=None, num_steps=None):
        self.batch = len(seed)

    def act(self, obs):
        return np.zeros((self.batch, 2), dtype=np.float32)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the command in an empty folder with a planner that needs no checkpoint; return status, stdout and stderr."""
    seen = []

    def still(options):
        seen.append(options)
        return StillAgent()

    monkeypatch.setitem(contenders.CONTENDERS, "planner", still)
    monkeypatch.setitem(contenders.CONTENDERS, "policy", still)
    monkeypatch.setattr(evaluation, "LATENCY_SECONDS", 1e-9)  # one decision; timing has its own tests
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dfplan-bench", *arguments])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    call.seen = seen
    return call


@pytest.mark.parametrize("maze", ["maze2d-umaze", "maze2d-umaze-v1"])
def test_a_run_leaves_table_and_files(run, tmp_path, maze):
    status, out, _ = run(maze, "--agents", "planner,waypoint", "--episodes", "2", "--goal", "random")
    folder = tmp_path / "dfplan-bench" / "maze2d-umaze"
    assert status == 0 and "normalized_if_stay" in out and str(folder.relative_to(tmp_path)) in out
    assert {file.name for file in folder.iterdir()} == {"results.json", "episodes.csv", "report.md", "paths.png"}
    contents = json.loads((folder / "results.json").read_text())
    assert contents["goal"] == "random" and list(contents["agents"]) == ["planner", "waypoint"]
    command = "dfplan-bench maze2d-umaze --agents planner,waypoint --episodes 2 --goal random"
    assert f"`{command}`" in (folder / "report.md").read_text()


def test_flags_reach_the_agents(run, tmp_path, tiny_model):
    save_checkpoint(tmp_path / "run" / "model.safetensors", tiny_model, {})
    flags = ["--checkpoint", "run", "--controller", "pd", "--device", "cpu", "--output", "out"]
    assert run("maze2d-umaze", "--agents", "planner", "--episodes", "1", *flags)[0] == 0
    assert run.seen == [contenders.ContenderOptions("maze2d-umaze-v1", "run", "pd", "cpu")]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["maze2d-lage"], "maze2d-large"),
        (["maze2d-umaze", "--agents", "plannr"], "planner"),
        (["maze2d-umaze", "--agents", ","], "--agents"),
        (["maze2d-umaze", "--episodes", "0"], "--episodes"),
        (["maze2d-umaze", "--episodes", "-3"], "-3"),
        (["maze2d-umaze", "--episodes", "many"], "many"),
        (["maze2d-umaze", "--seed", "-1"], "--seed"),
        (["maze2d-umaze", "--goal", "moving"], "moving"),
        (["maze2d-umaze", "--output", "taken"], "taken"),
        (["maze2d-umaze", "--nonsense"], "--nonsense"),
        (["maze2d-umaze", "--agents", "random", "--controller", "persuit"], "pursuit"),
        (["maze2d-umaze", "--agents", "random", "--checkpoint", "no/such"], "no/such"),
        (["maze2d-umaze", "--agents", "random", "--checkpoint", "taken"], "taken"),
        (["maze2d-umaze", "--agents", "random", "--device", "gpu9"], "gpu9"),
        ([], "maze"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(run, tmp_path, monkeypatch, arguments, word):
    monkeypatch.setattr(bench, "evaluate", lambda *_: pytest.fail("evaluated"))
    (tmp_path / "taken").write_text("mine")
    status, out, err = run(*arguments)
    assert status == 2 and out == ""
    assert word in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["taken"] and (tmp_path / "taken").read_text() == "mine"


def test_nothing_is_evaluated_or_made_when_one_agent_cannot_be_had(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "evaluate", lambda *_: pytest.fail("evaluated"))
    status, _, err = run("maze2d-umaze", "--agents", "waypoint,planner-mcg", "--checkpoint", "no/such/folder")
    assert status == 2 and "no/such/folder" in err and not list(tmp_path.iterdir())
