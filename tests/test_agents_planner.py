from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.agents.candidates import SELECTIONS
from dfplan.agents.presets import (
    DIFFUSER,
    FAST,
    GOAL_TOKEN,
    MONTE_CARLO_GUIDANCE,
    POLICY,
    TEACHER_FORCING,
    config_for,
)
from dfplan.config import ModelConfig
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.sampling.guides import KeepOut, WayPoint, goal_distance
from dfplan.task import Task
from dfplan.training.checkpoint import save_checkpoint

START = np.array([1.0, 1.0, 0.0, 0.0])
GOAL = np.array([2.0, 3.0])


@pytest.fixture
def agent(tiny_model):
    return DFPlanner(tiny_model, PlannerConfig(open_loop_horizon=4))


def test_one_observation_gives_one_action_and_a_batch_gives_a_batch(agent):
    agent.reset(goal=GOAL, seed=0)
    action = agent.act(START)
    assert action.shape == (2,) and action.dtype == np.float32 and (np.abs(action) <= 1).all()
    agent.reset(goal=GOAL, seed=0)
    assert agent.act(np.stack([START, START])).shape == (2, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"history": 2, "open_loop_horizon": 3},
        {"candidates": 3},
        {"candidates": 2, "selection": "arrival", "history": 2},
        {"replan_error": 1.0, "candidates": 2},
        {"guide": "cost_to_go", "max_shift": 1.0, "schedule": "pyramid", "candidates": 2, "selection": "guide"},
        {"guide": "goal_distance", "guidance_scale": (0.5, 2.0), "candidates": 3, "replan_error": 1.0},
        {"guide": ("cost_to_go", WayPoint((0.0, 0.0), radius=0.7)), "candidates": 2},
        {"replan_error": 0.5, "warm_start": 0.5, "controller": "pd", "open_loop_horizon": None},
    ],
)
def test_an_episode_is_the_same_alone_and_beside_others(agent, cost_to_go, settings):
    agent.model.cost_to_go = cost_to_go
    agent.config = replace(agent.config, **settings)
    observations = np.random.default_rng(0).normal(size=(3, 10, 4))
    agent.reset(goal=np.stack([GOAL, GOAL + 1, GOAL]), seed=[5, 6, 7])
    together = np.stack([agent.act(observations[:, step]) for step in range(10)], axis=1)
    agent.reset(goal=GOAL + 1, seed=6)
    alone = np.stack([agent.act(observations[1, step]) for step in range(10)])
    np.testing.assert_array_equal(together[1], alone)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(agent):
    plans = []
    for seed in (1, 1, 2):
        agent.reset(goal=GOAL, seed=seed)
        plans.append(agent.plan(START).observations)
    assert np.array_equal(plans[0], plans[1]) and not np.allclose(plans[0], plans[2])


def test_a_plan_has_observations_actions_rewards_and_levels_in_environment_units(agent):
    agent.reset(goal=GOAL, seed=0)
    plan = agent.plan(START, horizon=5)  # two frames a token: rounded up to six
    assert plan.observations.shape == (6, 4) and plan.actions.shape == (6, 2)
    assert plan.rewards.shape == (6,) and plan.levels.tolist() == [0] * 6
    assert agent.plan(np.stack([START])).observations.shape == (1, 8, 4)


def test_the_rows_of_a_plan_show_it_from_noise_to_clean(agent):
    agent.reset(goal=GOAL, seed=0)
    plan = agent.plan(START, keep_rows=True)
    levels = [row_levels[0] for _, row_levels in plan.rows]
    assert levels == sorted(levels, reverse=True) and levels[0] == 100 and levels[-1] == 0
    np.testing.assert_array_equal(plan.rows[-1][0], plan.observations)


def test_it_replans_after_the_open_loop_horizon(agent):
    agent.reset(goal=GOAL, seed=0)
    for _ in range(9):
        agent.act(START)
    assert len(agent.plan_seconds) == 3


def test_the_policy_looks_one_token_ahead_and_the_mode_can_be_changed(agent):
    agent.mode = "policy"
    agent.reset(goal=GOAL, seed=0)
    assert agent.plan(START).observations.shape == (2, 4)
    for _ in range(4):
        agent.act(START)
    assert len(agent.plan_seconds) == 2
    agent.mode = "planner"
    assert agent.plan(START).observations.shape == (8, 4)
    with pytest.raises(InputError, match="did you mean planner"):
        agent.mode = "planer"


def test_nothing_is_planned_beyond_the_end_of_the_episode(agent):
    agent.reset(goal=GOAL, seed=0, num_steps=7)
    for _ in range(4):
        agent.act(START)
    assert agent.plan(START).observations.shape == (4, 4)


def test_dictionary_observations_bring_their_goal(agent):
    agent.reset(seed=0)
    from_dictionary = agent.act({"observation": START, "achieved_goal": START[:2], "desired_goal": GOAL})
    agent.reset(goal=GOAL, seed=0)
    assert np.array_equal(from_dictionary, agent.act(START))


def test_without_a_goal_it_plans_unconditionally(agent):
    agent.reset(seed=0)
    without = agent.plan(START).observations
    agent.reset(goal=GOAL, seed=0)
    assert not np.allclose(agent.plan(START).observations, without)


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
def test_every_controller_acts_within_the_limits(tiny_model, controller):
    agent = DFPlanner(tiny_model, PlannerConfig(controller=controller))
    agent.reset(goal=GOAL, seed=0)
    actions = np.stack([agent.act(START) for _ in range(12)])
    assert actions.shape == (12, 2) and (np.abs(actions) <= 1).all()


def test_monte_carlo_guidance_changes_the_plan_and_needs_a_goal(knowing_model):
    plans = []
    for scale in (0.0, 3.0):
        agent = DFPlanner(knowing_model, PlannerConfig(**(MONTE_CARLO_GUIDANCE | {"guidance_scale": scale})))
        agent.reset(goal=GOAL, seed=0)
        plans.append(agent.plan(START).observations)
    assert not np.allclose(*plans)
    agent.reset(seed=0)
    with pytest.raises(InputError, match="needs a goal"):
        agent.plan(START)


def test_a_guide_of_the_users_own_steers_the_plan(tiny_model):
    def upwards(plan):
        return plan.observations[..., 1].sum(dim=1)

    heights = []
    for scale in (0.0, 5.0):
        agent = DFPlanner(tiny_model, PlannerConfig(guide=upwards, guidance_scale=scale, sampling_steps=10))
        agent.reset(goal=GOAL, seed=0)
        heights.append(agent.plan(START).observations[:, 1].mean())
    assert heights[1] > heights[0]


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(3), r"expects observations of shape \(4,\)"),
        (np.array([1, 1, np.nan, 0]), "not finite"),
        (np.zeros((2, 3, 4)), "expects observations"),
        (np.zeros((0, 4)), "expects observations"),
        ("north", "not an array of numbers"),
    ],
)
def test_bad_observations_are_answered_in_a_sentence(agent, observation, message):
    agent.reset(goal=GOAL, seed=0)
    with pytest.raises(InputError, match=message):
        agent.act(observation)


def test_a_batch_that_changes_within_an_episode_is_refused(agent):
    agent.reset(goal=GOAL, seed=0)
    agent.act(START)
    with pytest.raises(InputError, match=r"call reset\(\)"):
        agent.act(np.stack([START, START]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "polcy"}, "did you mean policy"),
        ({"controller": "pid"}, "did you mean pd"),
        ({"guide": "gaol_distance"}, "did you mean goal_distance"),
        ({"open_loop_horizon": 0}, "at least 1 step"),
        ({"sampling_steps": 0}, "at least 1"),
        ({"history": -1}, "whole number of tokens"),
        ({"horizon": -5}, "at least 1 step"),
        ({"uncertainty_scale": -1.0}, "at least 0"),
        ({"schedule": "pyramide"}, "did you mean pyramid"),
        ({"observation_level": 2.0}, r"\[0, 1\]"),
        ({"candidates": 0}, "at least 1"),
        ({"selection": "arival"}, "did you mean arrival"),
        ({"replan_error": 0.0}, "distance above 0"),
        ({"replan_error": 0.3, "history": 2}, "history of 2 tokens needs plans made together"),
        ({"warm_start": 1.5}, r"\[0, 1\]"),
        ({"warm_start": 0.0}, "above 0"),
        ({"pursuit_lookahead": 0}, "at least 1"),
        ({"max_shift": 0.0}, "above 0 standard deviations, or None, not 0.0"),
        ({"max_shift": float("nan")}, "above 0 standard deviations"),
    ],
)
def test_impossible_settings_are_answered_in_a_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        PlannerConfig(**settings)


def test_a_horizon_beyond_the_models_is_refused(agent):
    agent.reset(goal=GOAL, seed=0)
    with pytest.raises(InputError, match="does not fit the model's 1 to 8"):
        agent.plan(START, horizon=9)


def test_an_agent_is_saved_and_loaded_with_its_settings_given_anew(agent, tmp_path):
    agent.save(tmp_path / "run")
    agent.save(tmp_path / "file.safetensors")
    agent.reset(goal=GOAL, seed=0)
    for path in (tmp_path / "run", tmp_path / "file.safetensors"):
        loaded = DFPlanner.load(path, device="cpu", open_loop_horizon=4)
        loaded.reset(goal=GOAL, seed=0)
        np.testing.assert_array_equal(loaded.plan(START).observations, agent.plan(START).observations)
        agent.reset(goal=GOAL, seed=0)


def test_an_unknown_setting_or_device_is_named(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", tiny_model, {})
    with pytest.raises(InputError, match="did you mean horizon"):
        DFPlanner.load(tmp_path / "x.safetensors", horzon=3)
    with pytest.raises(InputError, match="no device 'gpu'"):
        DFPlanner.load(tmp_path / "x.safetensors", device="gpu")


def test_looking_at_a_plan_changes_nothing_and_shows_what_act_will_follow(agent):
    agent.reset(goal=GOAL, seed=0)
    action = agent.act(START)
    agent.reset(goal=GOAL, seed=0)
    plans = [agent.plan(START).observations for _ in range(2)]
    np.testing.assert_array_equal(*plans)
    np.testing.assert_array_equal(agent.act(START), action)


def test_a_scheduling_matrix_of_the_users_own_serves_a_whole_episode(tiny_model):
    own = np.array([[100, 100, 100, 100], [50, 60, 70, 80], [0, 0, 0, 0]])
    agent = DFPlanner(tiny_model, PlannerConfig(schedule=own, open_loop_horizon=3))
    agent.reset(goal=GOAL, seed=0, num_steps=8)
    for step in range(8):
        levels = [row_levels.tolist() for _, row_levels in agent.plan(START, keep_rows=True).rows]
        num_tokens = -(-(8 - step) // 2)  # what is left of the episode, two steps a token
        assert levels == own[:, :num_tokens].repeat(2, axis=1).tolist()
        assert (np.abs(agent.act(START)) <= 1).all()
    assert len(agent.plan_seconds) == 3


def test_a_dictionary_that_lacks_a_key_is_answered_in_a_sentence(agent):
    agent.reset(seed=0)
    with pytest.raises(InputError, match="lacks 'observation'; it has desired_goal"):
        agent.act({"desired_goal": GOAL})


def test_what_lies_beyond_the_horizon_is_left_out_of_the_plan(agent):
    agent.reset(goal=GOAL, seed=0)
    plan = agent.plan(START, horizon=2, keep_rows=True)
    assert plan.observations.shape == (2, 4) and plan.levels.tolist() == [0, 0]
    assert all(observations.shape == (2, 4) and levels.shape == (2,) for observations, levels in plan.rows)


@pytest.mark.parametrize("settings", [{"in_paint_goal": True}, {"open_loop_horizon": None}])
def test_a_policy_neither_paints_in_the_goal_nor_plans_once(settings):
    with pytest.raises(InputError, match="a policy plans one token"):
        PlannerConfig(mode="policy", **settings)


def test_a_planner_that_becomes_a_policy_has_a_policys_settings_and_then_its_own_again(knowing_model):
    agent = DFPlanner(knowing_model, config_for(knowing_model, "re-executed", controller="pd"))
    own = agent.config
    agent.mode = "policy"
    assert agent.config == PlannerConfig(**(POLICY | {"controller": "pd"}))
    agent.mode = "planner"
    assert agent.config == own
    agent.mode = "policy"
    agent.config = replace(agent.config, sampling_steps=2)
    agent.mode = "planner"
    assert agent.config.mode == "planner" and agent.config.sampling.sampling_steps == 2, "what was chosen since is kept"


def test_diffusers_plan_ends_still_at_the_goal_and_is_the_only_one(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(**DIFFUSER))
    agent.reset(goal=GOAL, seed=0)
    plan = agent.plan(START)
    np.testing.assert_allclose(plan.observations[-2:], [[2.0, 3.0, 0.0, 0.0]] * 2, atol=1e-5)
    assert not np.allclose(plan.observations[:-2], [2.0, 3.0, 0.0, 0.0], atol=0.1)
    for _ in range(20):
        agent.act(START)
    assert len(agent.plan_seconds) == 1
    agent.reset(seed=0)
    with pytest.raises(InputError, match="in_paint_goal needs a goal"):
        agent.plan(START)


def test_teacher_forcing_cleans_token_after_token(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(**TEACHER_FORCING))
    agent.reset(goal=GOAL, seed=0)
    uncertain = [
        np.count_nonzero((levels > 0) & (levels < 100)) for _, levels in agent.plan(START, keep_rows=True).rows
    ]
    assert max(uncertain) == 2  # the frames of one token


def test_an_agent_knows_the_file_it_was_loaded_from(agent, tmp_path):
    agent.save(tmp_path)
    assert agent.checkpoint is None
    assert DFPlanner.load(tmp_path, device="cpu").checkpoint == tmp_path / "model.safetensors"


@pytest.mark.parametrize("selection", ["arrival", "consistency", "shortness"])
def test_of_several_candidates_the_best_is_followed_and_the_first_is_the_plan_without(tiny_model, selection):
    plans = []
    for candidates in (1, 2, 8):
        agent = DFPlanner(tiny_model, PlannerConfig(candidates=candidates, selection=selection))
        agent.reset(goal=GOAL, seed=0)
        plans.append(agent.plan(np.stack([START]), keep_rows=True))
    scores = [SELECTIONS[selection].score(plan, GOAL[None], None, tiny_model)[0] for plan in plans]
    assert scores == sorted(scores) and scores[-1] > scores[0]
    for plan in plans:
        assert plan.observations.shape == (1, 8, 4)
        np.testing.assert_array_equal(plan.rows[-1][0], plan.observations)


def test_with_a_replan_error_an_episode_plans_when_it_is_off_its_way_and_not_because_others_are(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(controller="pd", open_loop_horizon=8, replan_error=3.0))
    agent.reset(goal=GOAL, seed=0)
    observations = np.stack([START, START])
    agent.act(observations)
    kept = agent._executions.running[0].plan.observations[0]
    planned = agent._executions.running[0].plan.observations[:, 0]
    agent.act(planned + np.array([[0.0] * 4, [9.0, 0, 0, 0]]))
    going_on, renewed = agent._executions.running
    assert going_on.episodes.tolist() == [0] and renewed.episodes.tolist() == [1] and len(agent.plan_seconds) == 2
    np.testing.assert_array_equal(going_on.plan.observations[0], kept)
    assert (going_on.step, renewed.step) == (2, 1)


def test_a_warm_start_takes_fewer_rows_and_stays_the_nearer_to_the_last_plan_the_lower_its_level(tiny_model):
    distances = []
    for level in (0.01, 0.3, None):
        agent = DFPlanner(tiny_model, PlannerConfig(controller="pd", open_loop_horizon=2, warm_start=level))
        agent.reset(goal=GOAL, seed=0)
        first = agent.plan(START, keep_rows=True)
        for _ in range(2):
            agent.act(START)
        second = agent.plan(START, keep_rows=True)
        assert len(first.rows) == 4 and len(second.rows) == {0.01: 2, 0.3: 2, None: 4}[level]
        held = first.observations[[2, 3, 4, 5, 6, 7, 7, 7]]
        distances.append(np.abs(second.observations - held).mean())
    assert distances == sorted(distances) and distances[0] < distances[1]


def test_a_new_goal_or_mode_has_no_last_plan_to_start_from(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(warm_start=0.3))
    agent.reset(seed=0)
    agent.act({"observation": START, "desired_goal": GOAL})
    assert len(agent.plan({"observation": START, "desired_goal": GOAL}, keep_rows=True).rows) == 2
    assert len(agent.plan({"observation": START, "desired_goal": GOAL + 1}, keep_rows=True).rows) == 4
    agent.act(START)
    assert len(agent.plan(START, keep_rows=True).rows) == 2
    agent.mode = "planner"
    assert len(agent.plan(START, keep_rows=True).rows) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"controller": "pursuit"},
        {"controller": "pd"},
        {"controller": "diffused", "hold": True},
        {"controller": "diffused", "replan_error": 0.3},
        {"candidates": 2, "selection": "consistency"},
    ],
)
def test_settings_that_read_motion_are_refused_for_observations_that_are_no_position_and_velocity(settings):
    model = DiffusionForcing(ModelConfig(Task(3, 1, goal=(0,)), width=16, depth=1, num_heads=2))
    with pytest.raises(InputError, match="needs a task that names the positions in observations"):
        DFPlanner(model, PlannerConfig(**settings))
    DFPlanner(model, PlannerConfig(controller="diffused"))
    DFPlanner(model, PlannerConfig(candidates=2))


@pytest.mark.parametrize("settings", [POLICY, FAST])
def test_a_guide_is_refused_for_plans_of_one_sampling_step(tiny_model, settings):
    settings = settings | {"horizon": None, "guide": "goal_distance"}
    agent = DFPlanner(tiny_model, PlannerConfig(**settings))
    agent.reset(goal=GOAL, seed=0)
    with pytest.raises(InputError, match="choose sampling_steps of 2 or more"):
        agent.act(START)


def test_a_tuple_of_guides_steers_like_the_sum_of_them(tiny_model):
    def upwards(plan):
        return plan.observations[..., 1].sum(dim=1)

    def both(plan):
        return upwards(plan) + goal_distance(torch.tensor(GOAL[None], dtype=torch.float32))(plan)

    plans = []
    for guide in (("goal_distance", upwards), both, upwards):
        agent = DFPlanner(tiny_model, PlannerConfig(guide=guide))
        agent.reset(goal=GOAL, seed=0)
        plans.append(agent.plan(START).observations)
    np.testing.assert_allclose(plans[0], plans[1], rtol=1e-4, atol=1e-5)
    assert not np.allclose(plans[0], plans[2], atol=0.01)


def test_the_cost_to_go_draws_the_plan_to_the_goal(knowing_model):
    distances = []
    for scale in (0.0, 1.0):
        agent = DFPlanner(knowing_model, config_for(knowing_model, "re-executed", guidance_scale=scale))
        agent.reset(goal=GOAL, seed=0)
        distances.append(np.linalg.norm(agent.plan(np.stack([START] * 8)).observations[..., :2] - GOAL, axis=-1).mean())
    assert distances[1] < distances[0] - 0.3


def test_a_way_point_that_was_passed_is_remembered_until_there_is_another_episode(knowing_model):
    guide = ("cost_to_go", WayPoint((6.0, 1.0)))
    agent = DFPlanner(knowing_model, config_for(knowing_model, "re-executed", guide=guide))
    plain = DFPlanner(knowing_model, config_for(knowing_model, "re-executed"))
    at_point, goal = np.array([6.0, 1.0, 0.0, 0.0]), {"desired_goal": GOAL}

    def passed():
        """Whether the agent's plan is that of an agent without a way point, from the same random numbers."""
        plain.reset(seed=0)
        plain._episodes = replace(agent._episodes.copy_streams(), passed=None)
        plans = [one.plan({"observation": START, **goal}).observations for one in (agent, plain)]
        return np.array_equal(*plans)

    agent.reset(seed=0)
    agent.act({"observation": START, **goal})
    assert not passed()
    agent.plan({"observation": at_point, **goal})
    assert not passed(), "a plan changes nothing"
    with pytest.raises(InputError):
        agent.act({"observation": at_point * np.nan, **goal})
    agent.act({"observation": at_point, **goal}, observation_level=1.0)
    assert not passed(), "what is missing tells nothing"
    agent.act({"observation": at_point, **goal})
    assert passed()
    agent.act({"observation": START, "desired_goal": GOAL + 1})
    assert passed(), "a goal may move"
    agent.reset(seed=0)
    agent.act({"observation": START, **goal})
    assert not passed()


@pytest.mark.parametrize("settings", [{}, {"candidates": 2, "selection": "guide"}])
def test_the_cost_to_go_is_asked_for_in_a_sentence_where_the_model_holds_none_or_there_is_no_goal(
    tiny_model, cost_to_go, settings
):
    for known, goal in ((None, GOAL), (cost_to_go, None)):
        tiny_model.cost_to_go = known
        with pytest.raises(InputError, match=r"cost to go|'cost_to_go'") as error:
            agent = DFPlanner(tiny_model, PlannerConfig(guide="cost_to_go", **settings))
            agent.reset(goal=goal, seed=0)
            agent.act(START)
        assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")
    agent.reset(goal=GOAL, seed=0)
    assert np.isfinite(agent.act(START)).all()


def test_the_candidates_of_several_scales_are_the_plans_of_each_scale(tiny_model):
    """Of two candidates (a, b) the better one is followed; with scales (0, 5) and (5, 0) each has both scales once."""

    def score(scales, candidates=2):
        settings = {"guidance_scale": scales, "candidates": candidates, "selection": "arrival"}
        agent = DFPlanner(tiny_model, PlannerConfig(guide="goal_distance", **settings))
        agent.reset(goal=GOAL, seed=0)
        return SELECTIONS["arrival"].score(agent.plan(np.stack([START])), GOAL[None], None, tiny_model)[0]

    unguided, guided, mixed, reverse = score(0.0), score(5.0), score((0.0, 5.0)), score((5.0, 0.0))
    assert len({unguided, guided, mixed, reverse}) > 1
    assert max(mixed, reverse) == pytest.approx(max(unguided, guided), rel=1e-5)


def test_several_scales_need_no_goal_where_neither_guide_nor_selection_do(tiny_model):
    scales = {"guidance_scale": (1.0, 2.0), "candidates": 2}
    agent = DFPlanner(tiny_model, PlannerConfig(guide=lambda plan: plan.rewards.sum(dim=1), **scales))
    agent.reset(seed=0)
    assert np.isfinite(agent.act(START)).all()


@pytest.mark.parametrize("knows", [False, True])
def test_an_agent_is_loaded_with_the_settings_that_suit_its_checkpoint(tiny_model, cost_to_go, tmp_path, knows):
    tiny_model.cost_to_go = cost_to_go if knows else None
    save_checkpoint(tmp_path / "x.safetensors", tiny_model, {"demonstrations": "re-executed"})
    agent = DFPlanner.load(tmp_path / "x.safetensors", device="cpu")
    assert agent.config == config_for(tiny_model, "re-executed")
    assert agent.config.guidance.guide == ("cost_to_go" if knows else None)
    own = DFPlanner.load(tmp_path / "x.safetensors", device="cpu", **GOAL_TOKEN)
    assert own.config.guidance.guide is None and own.config.guidance.goal_token


@pytest.mark.parametrize(
    "settings", [{"guide": ()}, {"guide": ("cost_to_go", None)}, {"guide": 3}, {"guidance_scale": ()}]
)
def test_a_guide_or_scale_of_another_kind_is_refused_in_one_sentence(settings):
    with pytest.raises(InputError, match="guide") as error:
        PlannerConfig(**settings)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")


def test_with_a_subgoal_plans_are_those_to_a_place_on_the_way(knowing_model):
    start, goal = np.array([1.0, 1.0, 0.0, 0.0]), np.array([[7.0, 7.0]])
    there = knowing_model.cost_to_go.solve_for(torch.tensor(goal, dtype=torch.float32))
    place = there.find_subgoals(torch.tensor([[1.0, 1.0]]), 10).numpy()
    assert 1.5 < np.linalg.norm(place - start[:2]) < 6
    plans = []
    for settings, aim in (({"subgoal": 10}, goal), ({}, place), ({}, goal)):
        agent = DFPlanner(knowing_model, PlannerConfig(**settings))
        agent.reset(goal=aim, seed=0)
        plans.append(agent.plan(start).observations)
    np.testing.assert_allclose(plans[0], plans[1], rtol=1e-6)
    assert not np.allclose(plans[0], plans[2])


def test_a_subgoal_needs_a_goal_a_cost_to_go_and_the_goal_token(knowing_model, tiny_model):
    with pytest.raises(InputError, match="subgoal must be a whole number of at least 1 step, not 0"):
        PlannerConfig(subgoal=0)
    with pytest.raises(InputError, match="subgoal=10 says where the goal token stands, so it needs goal_token=True"):
        PlannerConfig(subgoal=10, goal_token=False)
    agent = DFPlanner(knowing_model, PlannerConfig(subgoal=10))
    agent.reset(seed=0)
    with pytest.raises(InputError, match="subgoal=10 needs a goal"):
        agent.act(np.zeros(4))
    knowing_model.cost_to_go = None
    agent.reset(goal=[1.0, 1.0], seed=0)
    with pytest.raises(InputError, match="subgoal=10 needs a checkpoint that holds a cost to go"):
        agent.act(np.zeros(4))


def test_a_doubted_observation_places_no_subgoal(knowing_model):
    plans = []
    for settings in ({"subgoal": 10}, {}):
        agent = DFPlanner(knowing_model, PlannerConfig(**settings))
        agent.reset(goal=[7.0, 7.0], seed=0)
        plans.append(agent.plan(np.array([1.0, 1.0, 0.0, 0.0]), observation_level=1.0).observations)
    np.testing.assert_array_equal(*plans)


def test_subgoals_know_of_no_discs_and_way_points():
    for guide in (KeepOut((4.0, 4.0), 1.0), WayPoint((4.0, 4.0))):
        with pytest.raises(InputError, match="sub-goals know of no discs and way points"):
            PlannerConfig(subgoal=10, guide=("cost_to_go", guide))
