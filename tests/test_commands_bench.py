import json
import subprocess
import sys

import numpy as np
import pytest
from torchrun import ROOT, torchrun

from dfplan.benchmarks.evaluation import contenders, episodes
from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED
from dfplan.commands import bench
from dfplan.commands.bench import main
from dfplan.ground.files import LOCK_NAME, lock_folder
from dfplan.training.checkpoint import save_checkpoint


class StillAgent:
    """An agent that never moves."""

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
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)  # one decision; timing has its own tests
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
def test_a_run_prints_a_table_and_writes_its_files(run, tmp_path, maze):
    status, out, _ = run(maze, "--agents", "planner,waypoint", "--episodes", "2", "--goal", "random")
    folder = tmp_path / "dfplan-bench" / "maze2d-umaze-random-agents=planner+waypoint-episodes2"
    assert status == 0 and "normalized_if_stay" in out and str(folder.relative_to(tmp_path)) in out
    found = {file.name for file in folder.iterdir()} - {LOCK_NAME}
    assert found == {"results.json", "episodes.csv", "report.md", "paths.png"}
    contents = json.loads((folder / "results.json").read_text())
    assert contents["goal"] == "random" and list(contents["agents"]) == ["planner", "waypoint"]
    command = "dfplan-bench maze2d-umaze --agents planner,waypoint --episodes 2 --goal random"
    assert f"`{command}`" in (folder / "report.md").read_text()


def test_options_are_passed_to_the_agents(run, tmp_path, tiny_model):
    save_checkpoint(tmp_path / "run" / "model.safetensors", tiny_model, {})
    flags = ["--checkpoint", "run", "--controller", "pd", "--device", "cpu", "--preset", "fast", "--output", "out"]
    assert run("maze2d-umaze", "--agents", "planner", "--episodes", "1", *flags)[0] == 0
    assert run.seen == [contenders.ContenderOptions("maze2d-umaze-v1", "run", "pd", "cpu", "fast")]
    assert "--preset fast" in (tmp_path / "out" / "report.md").read_text()


def test_episodes_start_at_the_first_reported_seed_unless_another_is_given(run, tmp_path):
    words = ["maze2d-umaze", "--agents", "waypoint", "--episodes", "1"]
    assert run(*words)[0] == 0 and run(*words, "--seed", "0", "--output", "chosen")[0] == 0
    (reported,), chosen = (tmp_path / "dfplan-bench").iterdir(), tmp_path / "chosen"
    assert json.loads((reported / "results.json").read_text())["seed"] == FIRST_REPORTED_SEED == 1000
    assert json.loads((chosen / "results.json").read_text())["seed"] == 0
    assert "--seed" not in (reported / "report.md").read_text() and "--seed 0" in (chosen / "report.md").read_text()


def test_a_run_with_several_seeds_has_the_episodes_of_a_run_with_each(run, tmp_path):
    words = ["maze2d-umaze", "--agents", "waypoint", "--episodes", "2", "--goal", "random"]
    assert run(*words, "--seed", "4", "--seeds", "2", "--output", "both")[0] == 0
    for seed in ("4", "5"):
        assert run(*words, "--seed", seed, "--output", seed)[0] == 0
    both, first, second = ((tmp_path / name / "episodes.csv").read_text().splitlines() for name in ("both", "4", "5"))
    assert both == first + second[1:]
    contents = {name: json.loads((tmp_path / name / "results.json").read_text()) for name in ("both", "4", "5")}
    assert contents["both"]["seeds"] == 2 and contents["4"]["seeds"] == 1
    normalized = {name: content["agents"]["waypoint"]["normalized"] for name, content in contents.items()}
    assert normalized["both"]["mean"] == pytest.approx((normalized["4"]["mean"] + normalized["5"]["mean"]) / 2)
    assert normalized["both"]["by_seed"] == {"4": normalized["4"], "5": normalized["5"]}
    report = (tmp_path / "both" / "report.md").read_text()
    assert "2 episodes of each of the seeds 4 to 5" in report and "--seed 4 --seeds 2" in report


def test_two_processes_give_the_results_of_one(run, tmp_path, tiny_model):
    save_checkpoint(tmp_path / "run" / "model.safetensors", tiny_model, {"env_id": "maze2d-umaze-v1"})
    words = ["maze2d-umaze", "--agents", "diffuser,waypoint", "--episodes", "3", "--seeds", "2", "--goal", "random"]
    words += ["--checkpoint", tmp_path / "run"]
    status, out, _ = run(*map(str, words), "--output", "alone")
    assert status == 0
    ended = torchrun("-m", "dfplan.commands.bench", *words, "--output", tmp_path / "shared")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1] == out.splitlines()[1] and ended.stdout.count("written to") == 1
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert (alone / "episodes.csv").read_bytes() == (shared / "episodes.csv").read_bytes()
    contents = [json.loads((folder / "results.json").read_text()) for folder in (alone, shared)]
    for content in contents:
        del content["run"]["files"]  # they show the seconds too
        for agent in content["agents"].values():
            del agent["plan_seconds"], agent["act_seconds"]
    assert contents[0] == contents[1]


def test_any_environment_is_benched_and_its_report_has_only_what_exists(run, tmp_path):
    words = ["Pendulum-v1", "--agents", "random", "--episodes", "3", "--max-steps", "9", "--seeds", "2"]
    status, out, _ = run(*words)
    folder = tmp_path / "dfplan-bench" / "Pendulum-v1-agents=random-episodes3-seeds2-max_steps9"
    assert status == 0 and "normalized" not in out and "success" not in out and "return" in out
    assert {file.name for file in folder.iterdir()} - {LOCK_NAME} == {
        "results.json",
        "episodes.csv",
        "report.md",
        "returns.png",
    }
    contents = json.loads((folder / "results.json").read_text())
    agent = contents["agents"]["random"]
    assert contents["env_id"] == "Pendulum-v1" and contents["goal"] is None and agent["length"]["mean"] == 9
    for name in ("normalized", "normalized_if_stay", "success", "first_reach"):
        assert agent[name]["mean"] is None
    assert set(agent["return"]["by_seed"]) == {"1000", "1001"}
    report = (folder / "report.md").read_text()
    assert "`dfplan-bench Pendulum-v1 --agents random --episodes 3 --seeds 2 --max-steps 9`" in report
    assert "To compare with" not in report and "within 0.5" not in report and "returns.png" in report


def test_agents_of_other_environments_than_mazes_are_planners_and_a_random_one(run, monkeypatch):
    asked = []
    monkeypatch.setattr(bench, "make_contenders", lambda names, options: asked.append(names) or {})
    monkeypatch.setattr(bench, "evaluate", None)
    for env_id in ("Pendulum-v1", "maze2d-umaze"):
        with pytest.raises(StopIteration):  # there is nothing to write without an agent
            run(env_id, "--output", env_id)
    assert asked == [
        ["planner", "planner-mcg", "policy", "random"],
        ["planner", "planner-goal-token", "policy", "waypoint"],
    ]


@pytest.mark.parametrize("words", [["--help"], ["maze2d-umaze", "--preset", "wrong"]])
def test_help_and_errors_of_input_do_not_import_torch(words):
    program = "import sys, dfplan.commands.bench as bench\n"
    program += "try: bench.main()\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


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
        (["maze2d-umaze", "--seeds", "0"], "--seeds"),
        (["maze2d-umaze", "--preset", "wrong"], "'fast', 'default', 'best'"),
        (["maze2d-umaze", "--goal", "moving"], "moving"),
        (["maze2d-umaze", "--output", "taken"], "taken"),
        (["maze2d-umaze", "--nonsense"], "--nonsense"),
        (["maze2d-umaze", "--agents", "random", "--controller", "persuit"], "pursuit"),
        (["maze2d-umaze", "--agents", "random", "--checkpoint", "no/such"], "no/such"),
        (["maze2d-umaze", "--agents", "random", "--checkpoint", "taken"], "taken"),
        (["maze2d-umaze", "--agents", "random", "--device", "gpu9"], "gpu9"),
        ([], "env"),
        (["Pendulm-v1"], "Pendulum-v1"),
        (["no_such_module:Env-v0"], "no_such_module"),
        (["CartPole-v1"], "Discrete"),
        (["Pendulum-v1", "--agents", "planner-mcg"], "--checkpoint"),
        (["Pendulum-v1", "--agents", "waypoint"], "waypoint"),
        (["Pendulum-v1", "--agents", "random", "--goal", "random"], "--goal"),
        (["Pendulum-v1", "--agents", "random", "--max-steps", "0"], "--max-steps"),
        (["Pendulum-v1", "--agents", "random", "--coordinates", "d4rl"], "PointMaze"),
        (["Pendulum-v1", "--agents", "random", "--coordinates", "polar"], "polar"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(run, tmp_path, monkeypatch, arguments, word):
    monkeypatch.setattr(bench, "evaluate", lambda *_: pytest.fail("evaluated"))
    (tmp_path / "taken").write_text("mine")
    status, out, err = run(*arguments)
    assert status == 2 and out == ""
    assert word in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["taken"] and (tmp_path / "taken").read_text() == "mine"


def test_nothing_is_evaluated_or_written_if_one_agent_is_not_available(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "evaluate", lambda *_: pytest.fail("evaluated"))
    status, _, err = run("maze2d-umaze", "--agents", "waypoint,planner-mcg", "--checkpoint", "no/such/folder")
    assert status == 2 and "no/such/folder" in err and not list(tmp_path.iterdir())


def test_a_run_of_other_episodes_or_of_another_checkpoint_does_not_replace_an_earlier_one(run, tmp_path, tiny_model):
    for name, step in (("first", 1), ("second", 2)):
        save_checkpoint(tmp_path / name / "model.safetensors", tiny_model, {"step": step})
    words = ["maze2d-umaze", "--agents", "waypoint", "--output", "out"]
    assert run(*words, "--episodes", "1", "--checkpoint", "first")[0] == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    for flags, reason in (
        (["--episodes", "2", "--checkpoint", "first"], "with episodes 1 instead of 2"),
        (["--episodes", "1", "--checkpoint", "second"], "other checkpoints (first/model.safetensors of digest "),
    ):
        status, out, err = run(*words, *flags)
        assert (status, out) == (2, "") and reason in err and "--overwrite" in err and len(err.splitlines()) == 1
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert run(*words, "--episodes", "1", "--checkpoint", "first")[0] == 0
    assert run(*words, "--episodes", "1", "--checkpoint", "second", "--overwrite")[0] == 0


def test_a_report_edited_by_hand_is_kept(run, tmp_path):
    words = ["maze2d-umaze", "--agents", "waypoint", "--episodes", "1", "--output", "out"]
    assert run(*words)[0] == 0
    report = tmp_path / "out" / "report.md"
    report.write_text(f"{report.read_text()}A remark.")
    status, _, err = run(*words)
    assert status == 2 and "report.md was changed after its run had written it" in err
    assert report.read_text().endswith("A remark.")


def test_a_folder_in_use_is_refused_by_one_process_of_several_too(tmp_path):
    words = ["maze2d-umaze", "--agents", "waypoint", "--episodes", "2", "--output", tmp_path / "out"]
    with lock_folder(tmp_path / "out"):
        ended = torchrun("-m", "dfplan.commands.bench", *words)
    assert ended.returncode != 0 and ended.stderr.count("is in use by another process") == 1
    assert not {file.name for file in (tmp_path / "out").iterdir()} - {LOCK_NAME}
