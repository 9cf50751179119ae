from dfplan.ground.files import digest_file
from dfplan.training.checkpoint import OF_STUDIES, SHIPPED, find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.training.loaded_checkpoints import track_checkpoints


def test_checkpoints_loaded_in_a_block_are_recorded_by_name_and_contents(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", tiny_model, {})
    with track_checkpoints() as checkpoints:
        load_checkpoint(find_checkpoint(tmp_path))
        load_checkpoint(find_checkpoint("maze2d-umaze"))
        load_checkpoint(find_checkpoint("maze2d-umaze-causal"))
    load_checkpoint(find_checkpoint("maze2d-umaze-rnn"))
    file = tmp_path / "model.safetensors"
    named = {
        path.stem: path
        for path in (SHIPPED / "maze2d-umaze.safetensors", OF_STUDIES / "maze2d-umaze-causal.safetensors")
    }
    assert checkpoints == {str(file): digest_file(file)} | {name: digest_file(path) for name, path in named.items()}
    assert find_checkpoint(str(file)) == file


def test_a_checkpoint_is_recorded_in_the_innermost_block(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", tiny_model, {})
    with track_checkpoints() as outer:
        with track_checkpoints() as inner:
            load_checkpoint(tmp_path / "model.safetensors")
        assert len(inner) == 1 and not outer
        load_checkpoint(tmp_path / "model.safetensors")
    assert outer == inner
