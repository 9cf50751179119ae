import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks import speed_scaling
from dfplan.benchmarks.evaluation import timing
from dfplan.benchmarks.evaluation.timing import Machine
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.benchmarks.speed_scaling import FULL, QUICK, SWEEPS, Point, Sweep, fit_line

MACHINE = Machine(torch.device("cpu"), "abacus", 1, {"float32": {8: 1e9}})
SMALL = speed_scaling.Settings("umaze", 1e-4, (1, 2), (1, 2, 4), (1, 2), (1, 2), (1, 2), (2, 3))


def sweep(name, seconds_and_work):
    points = [Point(value, np.array([seconds]), work) for value, (seconds, work) in seconds_and_work.items()]
    return Sweep(name, points)


def test_the_line_is_recovered_from_points_on_it():
    values = np.array([1.0, 2.0, 16.0, 128.0])
    line = fit_line(values, 3e-3 + 5e-4 * values)
    assert (line.fixed, line.slope) == pytest.approx((3e-3, 5e-4))
    assert line.at(10) == pytest.approx(8e-3)


def test_errors_are_weighted_relative_to_the_time_of_their_point():
    """A doubled time at the far end does not change the line at the near end."""
    values = np.array([1.0, 1000.0, 1000.0])
    line = fit_line(values, np.array([1.0, 1000.0, 2000.0]))
    assert line.at(1) == pytest.approx(1.0)
    assert line.at(1000) == pytest.approx(1200)  # least (a / 1000 - 1)² + (a / 2000 - 1)²


def test_the_work_that_a_batch_shares_is_expressed_in_rows(tiny_model):
    """A plan takes 6 ms and 2 ms per episode of 6 rows, so 6 ms are 18 rows; rows take 1 of the 1.5 ms of a step."""
    agent = DFPlanner(tiny_model, PlannerConfig(sampling_steps=2))
    batch = sweep("batch", {1: (8e-3, 1_000_000), 2: (10e-3, 2_000_000), 4: (14e-3, 4_000_000)})
    steps = sweep("sampling_steps", {1: (5e-3, 1_000_000), 2: (6.5e-3, 2_000_000)})
    words = speed_scaling._describe_bottleneck(batch, steps, agent)
    assert "(6 ms:" in words and "fewer than 18 rows" in words and "Of 1.5 ms" in words and "take 1 ms" in words


def test_the_sentence_about_a_sweep_has_its_line_and_its_share_of_the_machines_rate():
    """2 ms for an episode of 1 MFLOP are half of the machine's rate, 1 GFLOP/s."""
    rising, flat = ({1: (8e-3, 1_000_000), 2: (10e-3, 2_000_000)}, {1: (8e-3, 1_000_000), 4: (8.1e-3, 1_000_000)})
    words = speed_scaling._describe_line(sweep("batch", rising), MACHINE, "float32")
    assert (
        "6 ms and 2 ms more for each episode" in words and "reach 50%" in words and "error of the line is 0%" in words
    )
    words = speed_scaling._describe_line(sweep("lookahead", flat), MACHINE, "float32")
    assert "flat" in words and "100% of the operations" in words


def test_a_falling_line_is_called_flat_and_has_no_share(tiny_model):
    falling = sweep("batch", {1: (10e-3, 1_000_000), 2: (8e-3, 2_000_000), 4: (6e-3, 4_000_000)})
    assert "flat" in speed_scaling._describe_line(falling, MACHINE, "float32")
    assert speed_scaling._make_line_row(falling, MACHINE, "float32")["share for one more"] == "-"
    assert "too noisy" in speed_scaling._describe_bottleneck(falling, falling, DFPlanner(tiny_model))


def test_every_sweep_of_the_agents_settings_has_a_table_a_line_and_a_panel(knowing_model, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "PRODUCT_SIZES", {"cpu": (4,)})
    monkeypatch.setattr(
        DFPlanner, "load", lambda name, device, **settings: DFPlanner(knowing_model, PlannerConfig(**settings))
    )
    findings = speed_scaling.study(SMALL, Run(seed=1, device="cpu", output=tmp_path))
    assert [row["against"] for row in findings.tables["Lines"]] == list(SWEEPS)
    lookahead = [row["lookahead"] for row in findings.tables["Against lookahead"]]
    assert lookahead == [1, 2, 4], "the longest lookahead is added"
    assert all(row["ms per plan"].value > 0 for name in SWEEPS for row in findings.tables[f"Against {name}"])
    assert isinstance(findings.figures["scaling"], Figure) and len(findings.figures["scaling"].axes) == len(SWEEPS)
    assert "threads of torch" in findings.explanation


@pytest.mark.parametrize("settings", [FULL, QUICK])
def test_every_sweep_has_enough_values_for_a_line(settings):
    for name in SWEEPS:
        values = getattr(settings, name)
        assert len(values) > 1 and sorted(set(values)) == list(values)
