import pytest

from dfplan.envs.errors import InputError
from dfplan.envs.files import replaced, replaced_together, writable_folder


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
