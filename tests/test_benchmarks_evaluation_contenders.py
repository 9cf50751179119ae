from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from small_worlds import GoalLine

from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.preset_names import PRESET_NAMES
from dfplan.agents.presets import BY_DEMONSTRATIONS, COST_TO_GO, COST_TO_GO_HORIZON, MONTE_CARLO_GUIDANCE, PRESETS
from dfplan.benchmarks.evaluation.contenders import (
    CONTENDERS,
    ContenderOptions,
    WaypointAgent,
    check_contenders,
    describe_config,
    drop_duplicates,
    make_contenders,
)
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.task import MAZE, Task
from dfplan.training.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    """A checkpoint of umaze; its sizes fit all mazes."""
    save_checkpoint(tmp_path / "run" / "model.safetensors", tiny_model, {"env_id": "maze2d-umaze-v1"})
    return str(tmp_path / "run")


def test_an_unknown_agent_is_answered_with_near_ones():
    with pytest.raises(InputError, match="planner-mcg"):
        check_contenders(["waypoint", "planer-mcg"])


def test_the_table_of_agents_has_all_agents():
    assert set(CONTENDERS) == {
        "planner",
        "planner-guided",
        "planner-goal-token",
        "policy",
        "planner-mcg",
        "teacher-forcing",
        "diffuser",
        "waypoint",
        "graph",
        "oracle",
        "random",
    }


@pytest.mark.parametrize("name", ["waypoint", "random"])
def test_agents_without_a_network_need_no_checkpoint(name):
    agent = make_contenders([name], ContenderOptions("maze2d-umaze-v1"))[name]
    agent.reset(goal=np.ones((2, 2)), seed=[0, 1], num_steps=300)
    actions = agent.act(np.array([[3.0, 1.0, 0.0, 0.0], [3.0, 3.0, 0.0, 0.0]]))
    assert actions.shape == (2, 2) and actions.dtype == np.float32 and (np.abs(actions) <= 1).all()


def test_monte_carlo_guidance_masks_the_goal_token_and_samples_several_futures():
    config = PlannerConfig(**MONTE_CARLO_GUIDANCE)
    assert not config.guidance.goal_token and config.guidance.guide and config.guidance.num_futures > 1


def test_an_episode_of_the_waypoint_agent_depends_on_its_own_seed_only():
    obs = np.array([[3.0, 1.0, 0.0, 0.0], [3.0, 3.0, 0.0, 0.0]])
    pair, single = WaypointAgent("umaze"), WaypointAgent("umaze")
    pair.reset(np.ones((2, 2)), seed=[7, 8])
    single.reset(np.ones((1, 2)), seed=[8])
    np.testing.assert_array_equal(pair.act(obs)[1], single.act(obs[1:])[0])


@pytest.mark.parametrize("seed", [0, np.int64(0), None, [0, 1, 2]])
def test_the_waypoint_agent_uses_one_goal_and_one_seed_for_a_whole_batch(seed):
    agent = WaypointAgent("umaze")
    agent.reset(goal=np.ones(2), seed=seed)
    obs = np.repeat([[3.0, 1.0, 0.0, 0.0]], 3, axis=0)
    assert agent.act(obs).shape == (3, 2)


def test_a_single_observation_of_the_waypoint_agent_has_the_action_of_a_batch_of_one():
    agent, obs = WaypointAgent("umaze"), np.array([3.0, 1.0, 0.0, 0.0])
    agent.reset(goal=(1, 1), seed=0)
    single = agent.act(obs)
    agent.reset(goal=(1, 1), seed=0)
    np.testing.assert_array_equal(single, agent.act(obs[None])[0])
    assert single.shape == (2,)


@pytest.mark.parametrize(("goals", "seeds", "word"), [(2, 3, "2 goals"), (3, 2, "2 seeds"), (1, 2, "2 seeds")])
def test_goals_or_seeds_of_the_waypoint_agent_that_do_not_fit_the_batch_are_an_error(goals, seeds, word):
    agent = WaypointAgent("umaze")
    agent.reset(goal=np.ones((goals, 2)), seed=list(range(seeds)))
    with pytest.raises(InputError, match=word):
        agent.act(np.repeat([[3.0, 1.0, 0.0, 0.0]], 3, axis=0))


def test_the_waypoint_agent_asks_for_its_goal_and_for_a_reset_when_the_batch_changes():
    agent = WaypointAgent("umaze")
    with pytest.raises(InputError, match="goal"):
        agent.reset(seed=0)
    agent.reset(goal=(1, 1), seed=0)
    agent.act(np.array([3.0, 1.0, 0.0, 0.0]))
    with pytest.raises(InputError, match="2 observations"):
        agent.act(np.repeat([[3.0, 1.0, 0.0, 0.0]], 2, axis=0))


def test_goals_and_seeds_of_the_waypoint_agent_may_be_overwritten_after_the_reset():
    agent, obs = WaypointAgent("umaze"), np.repeat([[3.0, 1.0, 0.0, 0.0]], 2, axis=0)
    goals, seeds = np.ones((2, 2)), np.array([3, 4])
    agent.reset(goal=goals, seed=seeds)
    expected = [agent.act(obs) for _ in range(3)]
    agent.reset(goal=goals, seed=seeds)
    goals[:], seeds[:] = 3.0, 9
    np.testing.assert_array_equal([agent.act(obs) for _ in range(3)], expected)


@pytest.mark.parametrize("goals", [np.ones(2), np.ones((2, 2))])
def test_a_refused_call_of_the_waypoint_agent_changes_nothing(goals):
    agent, obs = WaypointAgent("umaze"), np.repeat([[3.0, 1.0, 0.0, 0.0]], 2, axis=0)
    agent.reset(goal=goals, seed=[3, 4])
    expected = [agent.act(obs) for _ in range(3)]
    agent.reset(goal=goals, seed=[3, 4])
    for actions in expected:
        for wrong in (np.repeat(obs[:1], 3, axis=0), obs[0], obs * np.nan, obs[None]):
            with pytest.raises(InputError):
                agent.act(wrong)
        np.testing.assert_array_equal(agent.act(obs), actions)


@pytest.mark.parametrize("goal", [[1.0], [np.nan, 1.0], "north"])
def test_the_waypoint_agent_refuses_a_goal_that_is_not_a_position(goal):
    with pytest.raises(InputError, match="goal"):
        WaypointAgent("umaze").reset(goal=goal)


def test_a_checkpoint_of_other_sizes_is_an_error_with_both_sizes(tiny_config, tmp_path):
    model = DiffusionForcing(replace(tiny_config, task=Task(6, 3, goal=(0, 1))))
    save_checkpoint(tmp_path / "large.safetensors", model, {})
    options = ContenderOptions("maze2d-umaze-v1", str(tmp_path / "large.safetensors"), device="cpu")
    with pytest.raises(InputError, match=r"\(6, 3, 2\), but maze2d-umaze-v1 has \(4, 2, 2\)"):
        make_contenders(["planner"], options)


def test_the_random_agent_knows_the_task_of_the_checkpoint(checkpoint):
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, device="cpu")
    assert make_contenders(["random"], options)["random"].task == MAZE


class FarGoalLine(GoalLine):
    """Its observations do not hold what is achieved."""

    def _observe(self):
        return super()._observe() | {"observation": self.state + 1}


@pytest.fixture
def goal_line_with_other_observations():
    gym.register("FarGoalLine-v0", FarGoalLine, max_episode_steps=5)
    yield "FarGoalLine-v0"
    del gym.registry["FarGoalLine-v0"]


def test_the_random_agent_of_another_environment_keeps_to_its_bounds():
    agent = make_contenders(["random"], ContenderOptions("Pendulum-v1"))["random"]
    agent.reset(seed=list(range(50)))
    actions = agent.act(np.zeros((50, 3)))
    assert actions.shape == (50, 1) and 1 < np.abs(actions).max() <= 2


@pytest.mark.parametrize(("maze", "warnings"), [("umaze", 0), ("medium", 1)])
def test_a_checkpoint_of_another_maze_acts_after_one_warning(checkpoint, capsys, maze, warnings):
    make_contenders(["planner", "policy"], ContenderOptions(f"maze2d-{maze}-v1", checkpoint, device="cpu"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == warnings
    assert all("umaze" in line and "medium" in line and checkpoint in line for line in lines)


def test_the_config_of_an_agent_with_a_network_names_its_checkpoint_and_the_maze_it_is_from(checkpoint):
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, controller="pd", device="cpu")
    agents = make_contenders(["policy", "waypoint"], options)
    config = describe_config(agents["policy"])
    assert config["checkpoint"] == "run/model.safetensors" and config["trained_on"] == "maze2d-umaze-v1"
    assert config["mode"] == "policy" and config["controller"] == "pd"
    assert describe_config(agents["waypoint"]) == {"position_gain": 10.0, "velocity_gain": 1.0}


@pytest.fixture
def shipped(tiny_model, tmp_path, monkeypatch):
    """A folder of shipped checkpoints of umaze: the planner's and the diffuser's."""
    for name in ("maze2d-umaze", "maze2d-umaze-full_sequence"):
        save_checkpoint(tmp_path / f"{name}.safetensors", tiny_model, {"env_id": "maze2d-umaze-v1"})
    monkeypatch.setattr("dfplan.training.checkpoint.SHIPPED", tmp_path)
    monkeypatch.setattr("dfplan.training.checkpoint.OF_STUDIES", tmp_path / "none")
    return tmp_path


def test_every_agent_loads_its_own_checkpoint_and_is_described_with_it(shipped):
    options = ContenderOptions("maze2d-umaze-v1", device="cpu")
    agents = make_contenders(["planner", "diffuser"], options)
    files = {name: describe_config(agent)["checkpoint"] for name, agent in agents.items()}
    assert files["planner"].endswith("/maze2d-umaze.safetensors")
    assert files["diffuser"].endswith("/maze2d-umaze-full_sequence.safetensors")


def test_a_checkpoint_that_does_not_ship_is_answered_with_how_to_train_it(shipped):
    with pytest.raises(InputError, match="dfplan-train maze2d-umaze --level-sampler teacher_forcing --output"):
        make_contenders(["teacher-forcing"], ContenderOptions("maze2d-umaze-v1", device="cpu"))


@pytest.mark.parametrize("name", ["teacher-forcing", "diffuser"])
def test_a_baseline_acts_with_a_checkpoint_that_is_given(checkpoint, name):
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, device="cpu")
    agent = make_contenders([name], options)[name]
    agent.reset(goal=np.ones(2), seed=0, num_steps=300)
    actions = agent.act(np.array([3.0, 1.0, 0.0, 0.0]))
    assert actions.shape == (2,) and (np.abs(actions) <= 1).all()
    assert describe_config(agent)["checkpoint"] == "run/model.safetensors"


def test_the_command_line_knows_the_names_of_all_presets():
    assert tuple(PRESETS) == PRESET_NAMES


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_changes_the_settings_of_the_planner_and_of_no_other_agent(tmp_path, knowing_model, preset):
    checkpoint = str(tmp_path / "model.safetensors")
    save_checkpoint(checkpoint, knowing_model, {"env_id": "maze2d-umaze-v1"})
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, device="cpu", preset=preset)
    agents = make_contenders(["planner", "planner-guided", "planner-mcg", "waypoint"], options)
    own = BY_DEMONSTRATIONS["recorded"]
    motion = {"controller": "pursuit"}
    chosen = motion | PRESETS[preset] | {"selection": "consistency"}
    assert agents["planner"].config == PlannerConfig(**own | chosen)
    ahead = {"horizon": min(COST_TO_GO_HORIZON, agents["planner"].model.config.horizon)}
    assert agents["planner-guided"].config == PlannerConfig(**own | COST_TO_GO | ahead | motion)
    assert agents["planner-mcg"].config == PlannerConfig(**own | MONTE_CARLO_GUIDANCE | ahead | motion)


def test_a_guided_agent_is_refused_before_it_acts_where_the_checkpoint_holds_no_cost_to_go(checkpoint):
    with pytest.raises(InputError, match="holds no cost to go"):
        make_contenders(["planner-guided"], ContenderOptions("maze2d-umaze-v1", checkpoint, device="cpu"))


def test_an_agent_with_the_settings_of_an_earlier_one_is_left_out(checkpoint, capsys):
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, device="cpu")
    agents = make_contenders(["planner", "planner-goal-token", "policy", "waypoint", "random"], options)
    assert list(drop_duplicates(agents)) == ["planner", "policy", "waypoint", "random"]
    assert "planner-goal-token is the same agent as planner" in capsys.readouterr().err


def test_a_controller_that_is_given_wins_over_the_preset(checkpoint, monkeypatch):
    monkeypatch.setitem(PRESETS, "best", {"controller": "diffused", "sampling_steps": 7})
    options = ContenderOptions("maze2d-umaze-v1", checkpoint, controller="pd", device="cpu", preset="best")
    config = make_contenders(["planner"], options)["planner"].config
    assert config.execution.controller == "pd" and config.sampling.sampling_steps == 7


def test_the_random_agent_needs_no_goal_channels(goal_line_with_other_observations):
    agent = make_contenders(["random"], ContenderOptions(goal_line_with_other_observations))["random"]
    assert agent.task is None and agent.act(np.zeros((3, 2))).shape == (3, 2)
