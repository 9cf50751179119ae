import errno
import os

import pytest

from dfplan.envs.errors import InputError
from dfplan.envs.files import replaced, replaced_together, writable_folder, write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replaced(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_finished_write_takes_the_old_files_place(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with replaced(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_file_that_does_not_get_onto_the_disk_leaves_the_old_one(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(InputError, match=r"cannot write .*a\.txt: No space left on device"),
        replaced(tmp_path / "a.txt") as unfinished,
    ):
        unfinished.write_text("new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_too_large_for_the_disk_leaves_the_old_one(tmp_path, full_disk):
    write_whole(tmp_path / "a", b"old")
    with full_disk(1000), pytest.raises(InputError, match="cannot write"):
        write_whole(tmp_path / "a", bytes(2000))
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_disk_that_loses_what_was_written_leaves_the_old_file(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.pwrite(descriptor, bytes(2), 1))
    with pytest.raises(InputError, match="does not return what was written"):
        write_whole(tmp_path / "a", memoryview(b"fresh"))
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_file_written_whole_holds_its_content_in_a_folder_that_is_made(tmp_path):
    write_whole(tmp_path / "new" / "a", memoryview(b"fresh"))
    assert (tmp_path / "new" / "a").read_bytes() == b"fresh"


def test_files_written_together_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replaced_together(tmp_path) as unfinished:
        (unfinished / "a.txt").write_text("new")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"
    with replaced_together(tmp_path) as unfinished:
        (unfinished / "a.txt").write_text("new")
        (unfinished / "b.txt").write_text("new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_missing_folder_is_made(tmp_path):
    assert writable_folder(tmp_path / "a" / "b").is_dir()


def test_a_folder_that_is_a_file_is_an_input_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        writable_folder(tmp_path / "a")
    with pytest.raises(InputError, match="cannot write"):
        writable_folder(tmp_path / "a" / "b")
