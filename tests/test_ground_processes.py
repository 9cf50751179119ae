import os
import time
from itertools import chain

import pytest
import torch

from dfplan.ground import processes
from dfplan.ground.errors import InputError
from dfplan.ground.processes import SINGLE_PROCESS, Processes, assign_device, find_processes, report_error_once

VARIABLES = {"TORCHELASTIC_RUN_ID": "run", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


@pytest.fixture
def second_of_four(monkeypatch):
    """The environment that torchrun gives to the second process of four on the second of two machines."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("length", "count"), [(10, 1), (10, 3), (2, 4), (0, 2), (64, 8)])
def test_the_slices_of_all_processes_cover_everything_in_order_and_differ_by_at_most_one(length, count):
    parts = [list(range(length))[Processes(rank, count).slice_of(length)] for rank in range(count)]
    assert list(chain(*parts)) == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_single_process_gets_everything_without_a_connection():
    tensor = torch.ones(3)
    with SINGLE_PROCESS.connect(torch.device("cpu")):
        SINGLE_PROCESS.sum_in_place([tensor])
        assert SINGLE_PROCESS.gather("mine") == ["mine"] and SINGLE_PROCESS.broadcast("mine") == "mine"
        SINGLE_PROCESS.wait()
    assert torch.equal(tensor, torch.ones(3)) and SINGLE_PROCESS.is_first
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("second_of_four")
def test_a_process_reads_its_rank_from_torchruns_variables():
    assert find_processes() == Processes(rank=5, count=8, local_rank=1, local_count=4) and not find_processes().is_first


@pytest.mark.usefixtures("second_of_four")
def test_variables_of_other_programs_do_not_make_a_group(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert find_processes() is SINGLE_PROCESS


@pytest.mark.parametrize(
    ("name", "has_gpu", "own"),
    [("auto", True, "cuda:1"), ("auto", False, "auto"), ("cuda", True, "cuda:1"), ("cuda:3", True, "cuda:3")],
)
def test_each_process_of_a_machine_has_its_own_gpu_unless_one_is_named(second_of_four, monkeypatch, name, has_gpu, own):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert assign_device(name) == own


def test_a_single_process_keeps_the_named_device():
    assert [assign_device(name) for name in ("auto", "cuda", "cpu")] == ["auto", "cuda", "cpu"]


@pytest.mark.parametrize(("chosen", "threads"), [("1", 2), ("3", 3), ("3,2", 3)])
def test_processes_share_the_cores_of_their_machine_unless_the_user_chose_a_number(monkeypatch, chosen, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)  # 1 is what torchrun says where the user says nothing
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert Processes(count=4, local_count=4)._count_threads() == threads
    assert Processes(count=99, local_count=99)._count_threads() == (1 if chosen == "1" else 3)


@pytest.mark.parametrize(("rank", "pauses"), [(0, []), (1, [processes.FIRST_REPORT_SECONDS])])
def test_other_processes_wait_so_that_the_first_one_reports_a_mistake(second_of_four, monkeypatch, rank, pauses):
    slept = []
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(InputError, match="mistake"), report_error_once():
        raise InputError("a mistake.")
    assert slept == pauses
