"""The study of OGBench's point mazes, with a network that is hardly trained."""

import pytest
from matplotlib.figure import Figure

from dfplan.benchmarks import stitching
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.ablation import Run, format_markdown_table
from dfplan.benchmarks.reporting.published_ogbench import QUOTED
from dfplan.benchmarks.stitching import Settings, study
from dfplan.envs.ogbench_names import KINDS, MAZES

pytest.importorskip("ogbench", reason="ogbench is not installed")
MEDIUM = "pointmaze-medium-stitch-v0"


def test_it_compares_ways_to_plan_and_prints_tables_as_papers_do(tmp_path, monkeypatch):
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)  # one decision
    monkeypatch.setattr(stitching, "TASKS", (1, 5))
    monkeypatch.setattr(stitching, "GRAPH_STEPS", (10,))
    ways = ("sub-goals, 20 steps (default)", "sub-goals, policy")
    settings = Settings((MEDIUM,), MEDIUM, episodes=1, training_seeds=(0,), steps=1, ways=ways)
    findings = study(settings, Run(seed=1, device="cpu", output=tmp_path))
    details = {row["agent"]: row for row in findings.tables["Each data set"]}
    assert details["oracle"]["success, %"].value == details["graph"]["success, %"].value == 100
    assert details["planner"]["ms per plan"].value > 0 and "ms per plan" not in details["graph"]
    compared = findings.tables[f"Ways to plan beyond the recording, {MEDIUM}"]
    assert [row["way"] for row in compared] == [*ways, "no network, graph, 10 steps"]
    stitch = findings.tables["Success in %, stitch"]
    assert [row["method"] for row in stitch if row["source"] == "measured here"][-1] == "oracle (knows the maze)"
    assert isinstance(stitch[0]["medium"], Estimate) and stitch[0]["giant"] == "-"
    assert all(row["source"] != "measured here" for row in findings.tables["Success in %, navigate"])
    for rows in findings.tables.values():
        assert format_markdown_table(rows).count("\n") == len(rows) + 1
    assert isinstance(findings.figures["stitched"], Figure)


def test_every_quoted_row_has_a_kind_of_data_and_success_between_0_and_100():
    for quoted in QUOTED:
        assert quoted.kind in KINDS and set(quoted.success) <= set(MAZES)
        assert all(0 <= value <= 100 for value in quoted.success.values())
