import pytest
import torch

from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.long_rollouts import CONTENDERS, FULL, NATURAL, QUICK, Settings, find_matching_level, study
from dfplan.benchmarks.reporting.ablation import Run

TINY = Settings(
    rows=2000,
    steps=2,
    roll_outs=3,
    small_levels=(0.0, 0.1),
    errors=(0.5,),
    small_level=0.1,
    multiples=(1, 3),
    spoilt_multiple=2,
    history=2,
    sampling_steps=1,
    num_tokens=4,
    frame_stack=5,
    width=16,
    depth=1,
)


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFPLAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return study(TINY, Run(seed=0, device="cpu", output=tmp_path_factory.mktemp("rollout")))


def test_every_network_is_trained_from_every_training_seed(findings):
    assert findings.trainings == len(TINY.training_seeds) == 3


def test_no_interval_of_a_share_leaves_its_bounds(findings):
    for row in rows(findings, 1):
        assert all(0 <= row[share].low <= row[share].high <= 1 for share in ("in a wall", "touching", "diverged"))


def rows(findings, number):
    return list(findings.tables.values())[number]


def test_every_contender_is_measured_at_every_length_beside_the_data(findings):
    expected = [(name, length) for name in ("data", *CONTENDERS) for length in (1, 3)]
    assert [(row["contender"], row["length"]) for row in rows(findings, 0)] == expected
    assert all(isinstance(row["velocity error"], Estimate) for row in rows(findings, 0))


def test_recorded_motion_obeys_the_physics_and_keeps_out_of_walls(findings):
    data = [row for row in rows(findings, 0) if row["contender"] == "data"]
    assert all(row["position error"].value < 1e-5 and row["in a wall"].value == 0 for row in data)


def test_every_contender_is_measured_at_every_small_level_and_agrees_with_the_table_of_lengths(findings):
    by_level = {(row["contender"], row["k_small"]): row for row in rows(findings, 1)}
    assert set(by_level) == {(name, level) for name in CONTENDERS for level in (0.0, 0.1)}
    by_length = {(row["contender"], row["length"]): row for row in rows(findings, 0)}
    for name in CONTENDERS:
        assert by_length[name, 3]["velocity error"] == by_level[name, 0.1]["velocity error"]


def test_a_spoilt_past_is_measured_at_level_0_and_at_the_level_of_its_error(findings):
    found = {(row["contender"], row["error"], row["k_small"] > 0) for row in rows(findings, 2)}
    assert found == {(name, *case) for name in CONTENDERS for case in ((0.0, False), (0.5, False), (0.5, True))}


def test_every_disguise_is_measured(findings):
    assert [row["told by"] for row in rows(findings, 3)] == ["relabelled", "scaled", "noised"] * 2


def test_all_figures_are_drawn(findings):
    assert set(findings.figures) == {"length", "small_level", "spoilt_past", "paths"}


def test_the_matching_level_has_noise_of_the_wanted_size():
    alpha_bar = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0])
    assert find_matching_level(alpha_bar, 0.0) == 0
    assert find_matching_level(alpha_bar, 0.5) == 1 / 4  # 0.2 / 0.8 is the square of 0.5
    assert find_matching_level(alpha_bar, 1.0) == 2 / 4
    assert find_matching_level(alpha_bar, 2.0) == 3 / 4


def test_the_contenders_in_the_figures_cover_all_three_models():
    assert {CONTENDERS[name].training for name in NATURAL[:3]} == {"independent", "teacher_forcing", "full_sequence"}


def test_the_level_of_the_first_table_is_one_of_the_compared_levels():
    assert all(settings.small_level in settings.small_levels for settings in (FULL, QUICK))
