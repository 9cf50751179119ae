import pytest

from dfplan.envs.ogbench_names import parse_ogbench_name
from dfplan.ground.errors import InputError


def test_names_are_those_of_ogbench():
    name = parse_ogbench_name("pointmaze-giant-stitch-v0")
    assert (name.maze, name.kind, str(name)) == ("giant", "stitch", "pointmaze-giant-stitch-v0")
    assert name.env_id == "ogbench:pointmaze-giant-v0" and (name.episodes, name.episode_rows) == (5000, 201)
    with pytest.raises(InputError, match="did you mean pointmaze-giant-stitch-v0"):
        parse_ogbench_name("pointmaze-giant-stich-v0")
