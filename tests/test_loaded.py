from dfplan.checkpoint import SHIPPED, find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.envs.files import file_digest
from dfplan.loaded import recorded_checkpoints


def test_checkpoints_loaded_in_a_block_are_recorded_by_name_and_contents(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", tiny_model, {})
    with recorded_checkpoints() as checkpoints:
        load_checkpoint(find_checkpoint(tmp_path))
        load_checkpoint(find_checkpoint("maze2d-umaze"))
    load_checkpoint(find_checkpoint("maze2d-umaze-rnn"))
    file = tmp_path / "model.safetensors"
    shipped = SHIPPED / "maze2d-umaze.safetensors"
    assert checkpoints == {str(file): file_digest(file), "maze2d-umaze": file_digest(shipped)}
    assert find_checkpoint(str(file)) == file


def test_of_nested_records_the_inner_one_is_kept(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", tiny_model, {})
    with recorded_checkpoints() as outer:
        with recorded_checkpoints() as inner:
            load_checkpoint(tmp_path / "model.safetensors")
        assert len(inner) == 1 and not outer
        load_checkpoint(tmp_path / "model.safetensors")
    assert outer == inner
