import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED, Conditions
from dfplan.commands.plan_pictures import MOST_FRAMES, _make_parser, main, write_plan_pictures
from dfplan.ground.files import LOCK_NAME
from dfplan.training.checkpoint import save_checkpoint


class FakePlanner:
    """A planner of a straight line, which is denoised in ``num_rows`` steps."""

    def __init__(self, num_rows):
        self.num_rows = num_rows

    def reset(self, goal=None, seed=None, num_steps=None):
        self.goal = goal

    def act(self, obs):
        raise NotImplementedError

    def plan(self, obs, horizon=None, keep_rows=False):
        line = np.linspace(obs[:, :2], self.goal, 6, axis=1)  # (batch, step, 2)
        plan = np.concatenate([line, np.zeros_like(line)], axis=-1)
        noise = np.linspace(1, 0, self.num_rows)
        rows = [(plan + scale, np.full(6, round(10 * scale))) for scale in noise] if keep_rows else []
        return SimpleNamespace(observations=plan, rows=rows)


def test_a_picture_and_an_animation_of_a_plan_are_written(tmp_path):
    write_plan_pictures(FakePlanner(num_rows=3), Conditions("maze2d-umaze-v1"), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["denoising.gif", "plan.png"]
    with Image.open(tmp_path / "denoising.gif") as image:
        assert image.n_frames == 3


def test_the_plan_is_of_a_reported_episode_unless_another_seed_is_given():
    assert _make_parser().parse_args(["maze2d-umaze"]).seed == FIRST_REPORTED_SEED


def test_the_animation_shows_only_some_of_many_denoising_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("dfplan.commands.plan_pictures.MOST_FRAMES", 4)
    assert MOST_FRAMES > 4
    write_plan_pictures(FakePlanner(num_rows=30), Conditions("maze2d-umaze-v1"), tmp_path)
    with Image.open(tmp_path / "denoising.gif") as image:
        assert image.n_frames == 4


@pytest.fixture
def command(tmp_path, monkeypatch, tiny_model):
    """Return a function that runs the command with a tiny model."""
    save_checkpoint(tmp_path / "tiny" / "model.safetensors", tiny_model, {"env_id": "maze2d-umaze-v1"})
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        words = ["--checkpoint", "tiny", "--device", "cpu", "--sampling-steps", "5", *arguments]
        monkeypatch.setattr(sys, "argv", ["plan_pictures", "maze2d-umaze", *words])
        main()

    return run


def test_the_command_makes_the_folder_and_animates_more_steps_than_the_agent_takes(command, tmp_path):
    output = tmp_path / "results" / "maze2d-umaze" / "plan"
    command("--output", str(output))
    found = {file.name for file in output.iterdir()} - {LOCK_NAME}
    assert found == {"denoising.gif", "plan.png", "results.json"}
    run = json.loads((output / "results.json").read_text())["run"]
    assert run["asked"]["sampling_steps"] == 5 and "dfplan.sampling.sampler" in run["code"] and "commit" in run
    with Image.open(output / "denoising.gif") as image:
        assert image.n_frames == 5 + 1  # what is predicted before each step, and the final plan


def test_the_results_file_records_the_settings_of_the_pictures(command, tmp_path):
    command("--goal", "random")
    assert [folder.name for folder in (tmp_path / "plan-pictures").iterdir()] == [
        "maze2d-umaze-random-tiny-cpu-sampling_steps5"
    ]


def test_pictures_of_another_plan_or_without_a_record_are_not_replaced(command, tmp_path, capsys):
    command("--output", "out")
    before = (tmp_path / "out" / "plan.png").read_bytes()
    with pytest.raises(SystemExit) as ended:
        command("--output", "out", "--goal", "random")
    assert ended.value.code == 2 and 'with goal "fixed" instead of "random"' in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plan.png").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        command("--output", "mine")
    assert ended.value.code == 2 and "plan.png is not from a run of dfplan" in capsys.readouterr().err
    assert (tmp_path / "out" / "plan.png").read_bytes() == before
    assert (tmp_path / "mine" / "plan.png").read_text() == "mine"
