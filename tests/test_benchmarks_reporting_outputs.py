import csv
import json
import math

import numpy as np
import pytest

from dfplan.benchmarks.evaluation.conditions import draw_episode_seeds
from dfplan.benchmarks.evaluation.episodes import Conditions, Evaluation
from dfplan.benchmarks.evaluation.estimates import estimate_scores
from dfplan.benchmarks.reporting import outputs
from dfplan.benchmarks.reporting.outputs import collect_results, write_results
from dfplan.benchmarks.reporting.report import (
    INTERVALS,
    describe_background,
    format_report,
    format_scores_table,
    format_table,
)
from dfplan.benchmarks.reporting.run_folder import claim_folder
from dfplan.commands.model_card import format_card
from dfplan.envs.scores import score_episodes
from dfplan.ground.files import LOCK_NAME
from dfplan.recipes import RECIPES

ARRIVAL_SHARES = (0.5, 0.25, None)  # of the episode; the last one never arrives
CONFIG = {"gain": math.inf, "name": "fake"}

# Settings of agents, as far as tables show them.
PLANNER = {"mode": "planner", "candidates": 4, "horizon": None, "open_loop_horizon": None}
POLICY = {"mode": "policy", "candidates": 1, "horizon": None, "open_loop_horizon": 5}
CONFIGS = {
    "planner": {"controller": "diffused", "hold": True, "demonstrations": "re-executed"} | PLANNER,
    "policy": {"controller": "pursuit", "hold": False, "demonstrations": "recorded"} | POLICY,
    "waypoint": {"position_gain": 10.0},
}


def fake_evaluation(arrivals=ARRIVAL_SHARES, goal="fixed", plans=3, seeds=1):
    """Episodes of umaze that arrive after the given shares of their 300 steps and stay at the goal."""
    rewards = np.zeros((len(arrivals), 300))
    for episode, share in enumerate(arrivals):
        if share is not None:
            rewards[episode, int(share * 300) :] = 1.0
    paths = np.linspace([3.0, 1.0], [3.0, 3.0], 301)[None].repeat(len(arrivals), axis=0)
    return Evaluation(
        conditions=Conditions("maze2d-umaze-v1", episodes=len(arrivals) // seeds, goal=goal, seeds=seeds),
        goals=np.ones((len(arrivals), 2)),
        paths=paths,
        rewards=rewards,
        scores=score_episodes("umaze", rewards),
        plan_seconds=np.full(plans, 0.5),
        act_seconds=np.array([0.1, 0.2, 0.3]),
    )


def write(folder, evaluations, configs, command="dfplan-bench"):
    with claim_folder(folder, {}, []) as output:
        write_results(output, evaluations, configs, command)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    evaluations = {"planner": fake_evaluation(), "waypoint": fake_evaluation(plans=0)}
    write(folder, evaluations, {"planner": CONFIG, "waypoint": {}}, "dfplan-bench maze2d-umaze --seed 0")
    return folder


def test_results_have_the_promised_keys():
    contents = collect_results({"planner": fake_evaluation()}, {"planner": CONFIG})
    assert {key: contents[key] for key in ("format", "env_id", "episodes", "seed", "seeds", "goal")} == {
        "format": 1,
        "env_id": "maze2d-umaze-v1",
        "episodes": 3,
        "seed": 0,
        "seeds": 1,
        "goal": "fixed",
    }
    agent = contents["agents"]["planner"]
    for score in ("return", "normalized", "normalized_if_stay", "success", "first_reach"):
        low, high = agent[score]["ci95"]
        assert low <= agent[score]["mean"] <= high
    assert agent["plan_seconds"] == {"p50": 0.5, "p95": 0.5}
    assert agent["act_seconds"]["p50"] == 0.2
    assert {"dfplan", "torch", "mujoco"} <= contents["versions"].keys()


def test_results_of_episodes_equal_those_computed_by_hand():
    agent = collect_results({"planner": fake_evaluation()}, {"planner": {}})["agents"]["planner"]
    assert agent["return"]["mean"] == pytest.approx((150 + 225 + 0) / 3)
    assert agent["normalized"]["mean"] == pytest.approx(100 * (125 - 23.85) / (161.86 - 23.85))
    assert agent["success"]["mean"] == pytest.approx(2 / 3)
    assert agent["first_reach"]["median"] == pytest.approx(150, abs=1)
    assert agent["first_reach"]["mean"] == pytest.approx((150 + 75 + 300) / 3, abs=1)


def test_what_was_not_measured_is_null_and_the_file_is_strict_json(written):
    contents = json.loads((written / "results.json").read_text(), parse_constant=pytest.fail)
    assert contents["agents"]["waypoint"]["plan_seconds"] == {"p50": None, "p95": None}
    assert contents["agents"]["waypoint"]["config"] == {}
    assert contents["agents"]["planner"]["config"] == {"gain": None, "name": "fake"}


def test_every_episode_has_a_line_in_the_csv_file(written):
    with (written / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(row["agent"], row["seed"], row["episode"]) for row in rows]
    assert places[:3] == [("planner", "0", "0"), ("planner", "0", "1"), ("planner", "0", "2")]
    assert len(rows) == 6 and float(rows[1]["return"]) == 225.0
    assert [int(rows[0][name]) for name in ("env_seed", "agent_seed")] == list(draw_episode_seeds(0, 0))
    assert rows[2]["first_reach"] == "" and rows[2]["success"] in ("0.0", "False")


def test_the_report_says_how_it_was_made_and_marks_what_is_quoted(written):
    text = (written / "report.md").read_text()
    assert "`dfplan-bench maze2d-umaze --seed 0`" in text and "cores" in text and "torch" in text
    assert "| kinematic limit | 175 |" in text
    published = [line for line in text.splitlines() if "Diffuser" in line or "IQL" in line]
    assert published and all("**quoted**" in line for line in published)
    assert "| method | umaze | scale | trained on | driven by | source |" in text
    assert "| Diffuser, its own actions | 6.3 | normalized | D4RL's recording | own actions |" in text
    for score in ("`return`", "`normalized`", "`normalized_if_stay`"):
        assert f"* {score}: " in text


def test_several_seeds_are_pooled_and_shown_one_by_one(tmp_path):
    evaluations = {"planner": fake_evaluation(arrivals=(0.5, 0.5, 0.25, 0.25), seeds=2)}
    write(tmp_path, evaluations, {"planner": {}})
    agent = json.loads((tmp_path / "results.json").read_text())["agents"]["planner"]
    assert agent["return"]["mean"] == (150 + 225) / 2
    by_seed = {seed: found["mean"] for seed, found in agent["normalized"]["by_seed"].items()}
    expected = [100 * (value - 23.85) / (161.86 - 23.85) for value in (150, 225)]
    assert list(by_seed) == ["0", "1"] and list(by_seed.values()) == pytest.approx(expected)
    report = (tmp_path / "report.md").read_text()
    assert "2 episodes of each of the seeds 0 to 1" in report
    assert "| agent, normalized | seed 0 | seed 1 |" in report and "| planner | 91.4 [91.4, 91.4] | 145.8" in report
    with (tmp_path / "episodes.csv").open(newline="") as file:
        cases = [(row["seed"], row["episode"]) for row in csv.DictReader(file)]
    assert cases == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]


def test_one_seed_has_no_table_by_seed(written):
    assert "| seed 0" not in (written / "report.md").read_text()
    assert "by_seed" not in (written / "results.json").read_text()


def test_an_agent_without_plans_has_dashes_for_data_controller_and_plans():
    assert describe_background(CONFIGS["waypoint"]) == {"trained on": "-", "driven by": "-", "plans": "-"}


def test_random_goals_are_compared_with_random_goals():
    text = format_report(
        {"planner": fake_evaluation(goal="random")}, CONFIGS, "dfplan-bench maze2d-umaze --goal random"
    )
    assert "Multi2D" in text and "IQL" not in text


def test_the_table_has_each_interval_below_its_value():
    lines = format_table({"planner": fake_evaluation(), "waypoint": fake_evaluation(plans=0)}, CONFIGS).splitlines()
    assert len(lines) == 2 + 2 * 2 and len({len(line) for line in lines}) == 1
    assert "normalized_if_stay" in lines[0] and "planner" in lines[2] and "[" in lines[3]


def test_a_success_of_all_episodes_has_an_interval_of_positive_width():
    agent = collect_results({"planner": fake_evaluation(arrivals=(0.5,) * 100)}, {"planner": {}})["agents"]["planner"]
    assert agent["success"] == {"mean": 1.0, "ci95": [pytest.approx(0.963, abs=1e-3), 1.0]}


def test_estimates_are_computed_once():
    evaluation = fake_evaluation()
    assert estimate_scores(evaluation) is estimate_scores(evaluation)


def test_the_report_distinguishes_intervals_over_episodes_from_those_over_calls(written):
    text = (written / "report.md").read_text()
    assert "Wilson's for `success`" in text and "over the calls in one episode" in text


def test_a_model_card_has_the_reports_table():
    evaluations = {"planner": fake_evaluation(), "policy": fake_evaluation(plans=0)}
    card = format_card(RECIPES["umaze"], evaluations, CONFIGS, "dfplan-train maze2d-umaze")
    shown = format_scores_table(evaluations, CONFIGS)
    assert shown in card and shown in format_report(evaluations, CONFIGS, "dfplan-bench")
    assert "| planner | re-executed demonstrations | own actions, hold |" in shown
    assert "| policy | recorded demonstrations | pursuit |" in shown
    assert "`dfplan-train maze2d-umaze`" in card and "| policy |" in card and INTERVALS in card


def test_an_earlier_run_is_replaced(written):
    write(written, {"planner": fake_evaluation()}, {"planner": {}})
    assert json.loads((written / "results.json").read_text())["agents"].keys() == {"planner"}
    found = {file.name for file in written.iterdir()} - {LOCK_NAME}
    assert found == {"results.json", "episodes.csv", "report.md", "paths.png"}


def test_a_failed_run_leaves_the_earlier_one(tmp_path, monkeypatch):
    evaluations, configs = {"planner": fake_evaluation()}, {"planner": {}}
    write(tmp_path, evaluations, configs, "first")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(outputs, "save_figure", lambda figure, path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, evaluations, configs, "second")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_controller_without_a_name_of_its_own_in_tables_is_shown_by_its_key():
    config = CONFIGS["policy"] | {"controller": "momentum"}
    assert describe_background(config)["driven by"] == "momentum"


def elsewhere(seeds=1):
    """Episodes of 2 and 5 steps in a world that tells neither positions nor goals nor successes."""
    rewards = np.full((2, 5), np.nan)
    rewards[0, :2], rewards[1] = 1.5, -1.0
    nothing = np.full(2, np.nan)
    scores = dict.fromkeys(("normalized", "normalized_if_stay", "success", "first_reach"), nothing)
    scores |= {"return": np.array([3.0, -5.0]), "length": np.array([2.0, 5.0])}
    conditions = Conditions("World-v0", 2 // seeds, goal=None, seeds=seeds)
    return Evaluation(conditions, None, None, rewards, scores, np.empty(0), np.array([0.1, 0.2]))


def test_what_does_not_exist_in_a_world_is_null_and_an_empty_cell(tmp_path):
    write(tmp_path, {"random": elsewhere(seeds=2)}, {"random": {}})
    contents = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    agent = contents["agents"]["random"]
    assert contents["goal"] is None and agent["return"]["mean"] == -1 and agent["length"]["mean"] == 3.5
    for name in ("normalized", "normalized_if_stay", "success", "first_reach"):
        assert agent[name]["mean"] is None and agent[name]["ci95"] == [None, None]
    assert agent["return"]["by_seed"]["1"]["mean"] == -5
    with (tmp_path / "episodes.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["start_x"] == row["goal_y"] == row["success"] == "" and float(row["length"]) == 2
    env_seed, agent_seed = elsewhere().conditions.episode_seeds[0]
    assert (int(row["env_seed"]), int(row["agent_seed"])) == (env_seed, agent_seed) and env_seed < 100
    assert (tmp_path / "returns.png").exists() and not (tmp_path / "paths.png").exists()


def test_the_table_of_a_world_has_only_columns_that_exist():
    titles = format_table({"random": elsewhere()}, {"random": {}}).splitlines()[0].split()
    assert titles == ["agent", "return", "s", "per", "act", "length"]
    report = format_report({"random": elsewhere()}, {"random": {}}, "dfplan-bench World-v0")
    assert report.startswith("# World-v0, 2 episodes") and "* `length`" in report
    for absent in ("normalized", "* `success`", "waypoint", "To compare with", "0.5 of the goal", "trained on"):
        assert absent not in report


def test_small_returns_have_three_decimals():
    assert "-1.000 [" in format_scores_table({"random": elsewhere()}, {"random": {}})
