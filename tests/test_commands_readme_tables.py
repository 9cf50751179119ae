import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED
from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.evaluation.statistics import make_json_safe
from dfplan.benchmarks.reporting.published import MAZES
from dfplan.commands import readme_tables
from dfplan.config import read_model_config

ROOT = Path(readme_tables.ROOT)


def score(mean, low, high, **more):
    return {"mean": mean, "ci95": [low, high], **more}


PLANS = {"mode": "planner", "candidates": 4, "horizon": 100, "open_loop_horizon": 10}
AGENT = {
    "return": score(200.0, 190.0, 210.0),
    "normalized": score(130.04, 120.0, 140.0),
    "normalized_if_stay": score(131.0, 121.0, 141.0),
    "success": score(1.0, 1.0, 1.0),
    "first_reach": score(80.0, 70.0, 90.0, median=75.0, median_ci95=[65.0, 85.0]),
    "plan_seconds": {"p50": 0.0123, "p95": 0.02},
    "act_seconds": {"p50": 0.0001, "p95": 0.02},
    "config": {"controller": "diffused", "hold": False, "demonstrations": "recorded", **PLANS},
}


def test_each_agent_of_each_run_has_a_row_with_episodes_seeds_intervals_and_the_median_arrival(tmp_path):
    for maze in ("large", "umaze"):
        (tmp_path / f"maze2d-{maze}").mkdir()
        contents = {"env_id": f"maze2d-{maze}-v1", "goal": "fixed", "agents": {"planner": AGENT}}
        contents |= {"episodes": 50, "seed": 1000, "seeds": 3 if maze == "umaze" else 1}
        (tmp_path / f"maze2d-{maze}" / "results.json").write_text(json.dumps(contents))
    rows = readme_tables.format_results_table(tmp_path).splitlines()
    assert len(rows) == 4 and "umaze" in rows[2] and "large" in rows[3]
    behind = "recorded demonstrations | own actions | 4 of 100 steps, every 10"
    assert f"| planner | {behind} | 150 | 1000 to 1002 | 130.0 [120.0, 140.0] |" in rows[2]
    assert f"| planner | {behind} | 50 | 1000 | 130.0 [120.0, 140.0] |" in rows[3]
    assert rows[2].endswith(f"| 75 [65, 85] | {130.04 / compute_kinematic_limit('umaze'):.1%} | 12.3 |")


def test_each_agent_on_each_maze_has_a_row_of_its_speed_that_says_of_how_many_episodes_its_score_is(tmp_path):
    latency = {"first plan: ms p50": 5.678, "first plan: ms p95": 9.0, "act between plans: ms p50": 0.05}
    scored = {"agent": "fast", "normalized": {"value": 160.0, "ci95": [155.0, 165.0]}, "episodes": 8} | latency
    rates = [{"agent": "fast", "batch": batch, "decisions/s": 100.4 * batch} for batch in (1, 16)]
    tables = {}
    for maze in MAZES:
        tables[f"maze2d-{maze}: score and latency at batch 1"] = [scored]
        tables[f"maze2d-{maze}: decisions per second"] = [*rates, {"agent": "best", "batch": 1, "decisions/s": 1.0}]
    (tmp_path / "results.json").write_text(json.dumps({"tables": tables}))
    rows = readme_tables.format_speed_table(tmp_path).splitlines()
    assert len(rows) == 5
    assert rows[3] == "| medium | fast | 160.0 [155.0, 165.0] | 8 | 5.68 | 9.00 | 0.05 | 100, 1606 |"


def test_each_agent_on_each_data_set_of_ogbench_has_a_row_with_its_tasks(tmp_path):
    share = {"mean": 0.9, "ci95": [0.8, 0.95]}
    success = share | {"by_task": {str(task): {"mean": task / 10} for task in range(1, 6)}}
    values = {"success": success, "length": {"mean": 300, "ci95": [290, 310]}, "plan_seconds": {"p50": 0.02}}
    (tmp_path / "pointmaze-giant-stitch-v0").mkdir()
    contents = {"episodes": 50, "seeds": 1, "agents": {"planner": values}}
    (tmp_path / "pointmaze-giant-stitch-v0" / "results.json").write_text(json.dumps(contents))
    rows = readme_tables.format_ogbench_table(tmp_path).splitlines()
    assert len(rows) == 3 and "| planner | 250 | 0.90 [0.80, 0.95] | 0.10 | 0.20 |" in rows[2]
    assert rows[2].endswith("| 0.50 | 300 [290, 310] | 20.0 |")


def test_only_the_text_between_the_marks_is_replaced():
    before = "top\n<!-- results -->\nold\n<!-- /results -->\nbottom\n"
    after = "top\n<!-- results -->\nnew\n<!-- /results -->\nbottom\n"
    assert readme_tables.replace_table(before, "results", "new\n") == after


def test_the_readme_shows_the_committed_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = ROOT / "benchmarks" / "results"
    assert readme_tables.format_results_table(results).count("\n") > 2, "no results are committed"
    assert readme_tables.replace_tables(text, results) == text


def test_every_committed_run_is_of_reported_seeds_and_has_the_policy_wherever_goals_are_random():
    for file in (ROOT / "benchmarks" / "results").glob("maze2d-*/results.json"):
        contents = json.loads(file.read_text())
        assert contents["seed"] >= FIRST_REPORTED_SEED, file
        assert contents["goal"] == "fixed" or "policy" in contents["agents"], file


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links and not [link for link in links if "://" not in link and not (ROOT / link).exists()]


# Studies whose settings have changed since their results were committed; they are to be run again before a release.
OUTDATED: set[str] = set()


def as_committed(settings, committed) -> bool:
    """Whether settings are those of a committed run; models may have options by now that did not exist then."""
    if isinstance(committed, dict):
        if {"observation_dim", "frame_stack"} <= committed.keys():  # a model from before there were tasks
            committed = json.loads(json.dumps(asdict(read_model_config(committed))))
        return all(name in settings and as_committed(settings[name], committed[name]) for name in committed)
    return settings == committed


def test_every_ablation_with_committed_results_was_made_by_its_full_settings():
    committed = [json.loads(file.read_text()) for file in (ROOT / "benchmarks" / "results").glob("*/results.json")]
    ablations = {contents["ablation"]: contents for contents in committed if "ablation" in contents}
    assert ablations
    for name, contents in ablations.items():
        module = importlib.import_module(f"dfplan.benchmarks.{name}")
        full = json.loads(json.dumps(make_json_safe(asdict(module.FULL))))
        assert as_committed(full, contents["settings"]) != (name in OUTDATED), name
        assert "--quick" not in contents["command"]
