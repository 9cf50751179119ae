import errno
import os
import signal
import subprocess
import sys

import pytest
from torchrun import ROOT

from dfplan.ground.errors import InputError
from dfplan.ground.files import digest_file, lock_folder, make_writable_folder, replace_file, replace_files, write_file

HOLD = """
import sys, time
from dfplan.ground.files import lock_folder
with lock_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replace_file(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_finished_write_replaces_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with replace_file(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_the_old_file_stays_if_the_new_one_cannot_be_flushed_to_the_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(InputError, match=r"cannot write .*a\.txt: No space left on device"),
        replace_file(tmp_path / "a.txt") as unfinished,
    ):
        unfinished.write_text("new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_old_file_stays_if_the_new_one_is_too_large_for_the_disk(tmp_path, full_disk):
    write_file(tmp_path / "a", b"old")
    with full_disk(1000), pytest.raises(InputError, match="cannot write"):
        write_file(tmp_path / "a", bytes(2000))
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_the_old_file_stays_if_the_new_one_is_read_back_differently(tmp_path, monkeypatch):
    write_file(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.pwrite(descriptor, bytes(2), 1))
    with pytest.raises(InputError, match="read back differs from the content that was written"):
        write_file(tmp_path / "a", memoryview(b"fresh"))
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_file_is_written_with_its_content_into_a_folder_that_is_created(tmp_path):
    write_file(tmp_path / "new" / "a", memoryview(b"fresh"))
    assert (tmp_path / "new" / "a").read_bytes() == b"fresh"


def test_a_group_of_files_is_written_completely_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replace_files(tmp_path) as unfinished:
        (unfinished / "a.txt").write_text("new")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"
    with replace_files(tmp_path) as unfinished:
        (unfinished / "a.txt").write_text("new")
        (unfinished / "b.txt").write_text("new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_missing_folder_is_created(tmp_path):
    assert make_writable_folder(tmp_path / "a" / "b").is_dir()


def test_a_folder_that_is_a_file_is_an_input_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        make_writable_folder(tmp_path / "a")
    with pytest.raises(InputError, match="cannot write"):
        make_writable_folder(tmp_path / "a" / "b")


def test_all_earlier_files_are_restored_if_one_file_cannot_be_moved(tmp_path, monkeypatch):
    for name in ("a.txt", "b.txt", "dropped.txt"):
        (tmp_path / name).write_text("old")
    moved = []

    def replace(source, target, replace=os.replace):
        moved.append(target.name)
        if moved == ["a.txt", "added.txt", "b.txt"]:
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with (
        pytest.raises(InputError, match="disk full"),
        replace_files(tmp_path, last="results.json", removed=["dropped.txt"]) as unfinished,
    ):
        for name in ("a.txt", "added.txt", "b.txt", "results.json"):
            (unfinished / name).write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.txt": "old",
        "b.txt": "old",
        "dropped.txt": "old",
    }


def test_the_last_file_is_moved_after_all_others_and_outdated_files_are_deleted(tmp_path, monkeypatch):
    (tmp_path / "dropped.txt").write_text("old")
    moved = []
    monkeypatch.setattr(
        os, "replace", lambda source, target, replace=os.replace: moved.append(target.name) or replace(source, target)
    )
    with replace_files(tmp_path, last="a.txt", removed=["dropped.txt", "a.txt", "missing.txt"]) as unfinished:
        for name in ("a.txt", "b.txt"):
            (unfinished / name).write_text("new")
    assert moved == ["b.txt", "a.txt"] and sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_folder_is_created_and_locked_for_others_until_the_block_ends(tmp_path):
    with lock_folder(tmp_path / "run") as folder:
        assert folder.is_dir()
        with pytest.raises(InputError, match="run is in use by another process"), lock_folder(folder):
            pass
    with lock_folder(folder):
        pass


def test_the_lock_of_a_killed_process_ends(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use"), lock_folder(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with lock_folder(tmp_path):
        pass


def test_a_digest_depends_on_the_content_only(tmp_path):
    (tmp_path / "a").write_text("")
    assert digest_file(tmp_path / "a").startswith("e3b0c44298fc1c14")  # SHA-256 of nothing
    (tmp_path / "a").write_text("b")
    assert digest_file(tmp_path / "a").startswith("3e23e8160039594a")  # of the letter b
