import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from dfplan.benchmarks import readme
from dfplan.benchmarks.statistics import json_safe

ROOT = Path(readme.ROOT)


def score(mean, low, high, **more):
    return {"mean": mean, "ci95": [low, high], **more}


AGENT = {
    "return": score(200.0, 190.0, 210.0),
    "normalized": score(130.04, 120.0, 140.0),
    "normalized_if_stay": score(131.0, 121.0, 141.0),
    "success": score(1.0, 1.0, 1.0),
    "first_reach": score(80.0, 70.0, 90.0, median=75.0, median_ci95=[65.0, 85.0]),
    "plan_seconds": {"p50": 0.0123, "p95": 0.02},
    "act_seconds": {"p50": 0.0001, "p95": 0.02},
}


def test_each_agent_of_each_run_has_a_row_with_intervals_and_the_median_arrival(tmp_path):
    for maze in ("large", "umaze"):
        (tmp_path / f"maze2d-{maze}").mkdir()
        contents = {"env_id": f"maze2d-{maze}-v1", "agents": {"planner": AGENT}}
        (tmp_path / f"maze2d-{maze}" / "results.json").write_text(json.dumps(contents))
    rows = readme.results_table(tmp_path).splitlines()
    assert len(rows) == 4 and "umaze" in rows[2] and "large" in rows[3]
    assert "| planner | 130.0 [120.0, 140.0] |" in rows[2]
    assert rows[2].endswith("| 75 [65, 85] | 12.3 |")


def test_only_what_stands_between_the_marks_is_replaced():
    before = "top\n<!-- results -->\nold\n<!-- /results -->\nbottom\n"
    assert readme.with_results(before, "new\n") == "top\n<!-- results -->\nnew\n<!-- /results -->\nbottom\n"


def test_the_readme_shows_the_committed_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.results_table(ROOT / "benchmarks" / "results")
    assert table.count("\n") > 2, "no results are committed"
    assert readme.with_results(text, table) == text


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links and not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def as_committed(settings, committed) -> bool:
    """Whether settings are those of a committed run; models may have options by now that did not exist then."""
    if isinstance(committed, dict):
        return all(name in settings and as_committed(settings[name], committed[name]) for name in committed)
    return settings == committed


def test_every_ablation_with_committed_results_was_made_by_its_full_settings():
    committed = [json.loads(file.read_text()) for file in (ROOT / "benchmarks" / "results").glob("*/results.json")]
    ablations = {contents["ablation"]: contents for contents in committed if "ablation" in contents}
    assert ablations
    for name, contents in ablations.items():
        module = importlib.import_module(f"dfplan.benchmarks.{name}")
        assert as_committed(json.loads(json.dumps(json_safe(asdict(module.FULL)))), contents["settings"])
        assert "--quick" not in contents["command"]
