import os
import time
from itertools import chain

import pytest
import torch

from dfplan import distributed
from dfplan.distributed import ALONE, Processes, launched, one_voice, own_device
from dfplan.envs.errors import InputError

VARIABLES = {"TORCHELASTIC_RUN_ID": "run", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


@pytest.fixture
def second_of_four(monkeypatch):
    """The environment that torchrun gives to the second process of four on the second of two machines."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("length", "count"), [(10, 1), (10, 3), (2, 4), (0, 2), (64, 8)])
def test_the_parts_of_all_processes_are_the_whole_in_order_and_differ_by_one_at_most(length, count):
    parts = [list(range(length))[Processes(rank, count).part(length)] for rank in range(count)]
    assert list(chain(*parts)) == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_process_alone_has_all_there_is_and_needs_no_connection():
    tensor = torch.ones(3)
    with ALONE.connected(torch.device("cpu")):
        ALONE.add_up([tensor])
        assert ALONE.collected("mine") == ["mine"] and ALONE.from_first("mine") == "mine"
        ALONE.wait()
    assert torch.equal(tensor, torch.ones(3)) and ALONE.is_first
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("second_of_four")
def test_a_process_knows_its_place_from_torchrun():
    assert launched() == Processes(rank=5, count=8, local_rank=1, local_count=4) and not launched().is_first


@pytest.mark.usefixtures("second_of_four")
def test_what_other_programs_leave_in_the_environment_makes_no_group(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert launched() is ALONE


@pytest.mark.parametrize(
    ("name", "has_gpu", "own"),
    [("auto", True, "cuda:1"), ("auto", False, "auto"), ("cuda", True, "cuda:1"), ("cuda:3", True, "cuda:3")],
)
def test_each_process_of_a_machine_has_its_own_gpu_unless_one_is_named(second_of_four, monkeypatch, name, has_gpu, own):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert own_device(name) == own


def test_a_process_alone_keeps_the_device_as_it_was_named():
    assert [own_device(name) for name in ("auto", "cuda", "cpu")] == ["auto", "cuda", "cpu"]


@pytest.mark.parametrize(("chosen", "threads"), [("1", 2), ("3", 3), ("3,2", 3)])
def test_processes_share_the_cores_of_their_machine_unless_the_user_chose(monkeypatch, chosen, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)  # 1 is what torchrun says where the user says nothing
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert Processes(count=4, local_count=4)._num_threads() == threads
    assert Processes(count=99, local_count=99)._num_threads() == (1 if chosen == "1" else 3)


@pytest.mark.parametrize(("rank", "pauses"), [(0, []), (1, [distributed.FIRST_WORD_SECONDS])])
def test_others_leave_the_first_process_time_to_tell_of_a_mistake_first(second_of_four, monkeypatch, rank, pauses):
    slept = []
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(InputError, match="mistake"), one_voice():
        raise InputError("a mistake.")
    assert slept == pauses
