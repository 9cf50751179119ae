from dataclasses import asdict, replace

import pytest

from dfplan.agents import presets
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.presets import (
    BY_DEMONSTRATIONS,
    COST_TO_GO,
    COST_TO_GO_HORIZON,
    DIFFUSER,
    GOAL_TOKEN,
    MONTE_CARLO_GUIDANCE,
    OWN_ACTIONS_HORIZON,
    POLICY,
    PRESETS,
    SUBGOAL,
    TEACHER_FORCING,
    config_for,
    suit_task,
)
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.sampling.guides import KeepOut
from dfplan.task import Task

MOTION = {"controller": "pursuit", "selection": "consistency"}  # what suits a task that names positions and velocities
OWN_AGENTS = {"goal token": GOAL_TOKEN, "policy": POLICY, "diffuser": DIFFUSER, "teacher forcing": TEACHER_FORCING}


@pytest.mark.parametrize("demonstrations", BY_DEMONSTRATIONS)
def test_a_model_without_a_cost_to_go_is_told_its_goal_by_a_token(tiny_model, demonstrations):
    config = config_for(tiny_model, demonstrations)
    assert config == PlannerConfig(**MOTION, **BY_DEMONSTRATIONS[demonstrations])
    assert config.guidance.goal_token and config.guidance.guide is None and config.sampling.horizon is None


def test_a_model_of_re_executed_ways_that_holds_a_cost_to_go_is_guided_by_it_and_not_told_its_goal(knowing_model):
    config = config_for(knowing_model, "re-executed")
    assert config == PlannerConfig(**(MOTION | BY_DEMONSTRATIONS["re-executed"] | COST_TO_GO), horizon=8)
    assert not config.guidance.goal_token and config.guidance.guide == "cost_to_go"


def test_a_model_of_recorded_ways_is_told_its_goal_even_if_it_holds_a_cost_to_go(knowing_model):
    assert config_for(knowing_model, "recorded") == PlannerConfig(**MOTION, **BY_DEMONSTRATIONS["recorded"])


def test_a_guided_plan_is_as_long_as_the_cost_to_go_needs_and_no_longer_than_the_model_knows(knowing_model):
    assert config_for(knowing_model, "re-executed").sampling.horizon == knowing_model.config.horizon == 8
    knowing_model.config = replace(knowing_model.config, num_tokens=COST_TO_GO_HORIZON)  # of two steps each
    assert config_for(knowing_model, "re-executed").sampling.horizon == COST_TO_GO_HORIZON


def test_guided_plans_whose_own_actions_are_executed_are_made_anew_sooner(knowing_model):
    def horizon(**settings):
        return config_for(knowing_model, "re-executed", **settings).execution.open_loop_horizon

    assert horizon(controller="diffused") == OWN_ACTIONS_HORIZON < horizon(controller="pd") == horizon()
    assert horizon(controller="diffused", open_loop_horizon=7) == 7
    assert horizon(controller="diffused", **GOAL_TOKEN) == horizon(**GOAL_TOKEN)


def test_the_cost_to_go_comes_with_its_settings_whatever_the_demonstrations_and_the_guides_beside_it(knowing_model):
    by_cost = PlannerConfig(**(MOTION | BY_DEMONSTRATIONS["recorded"] | COST_TO_GO), horizon=8)
    assert config_for(knowing_model, "recorded", guide="cost_to_go") == by_cost
    beside = (KeepOut((1.0, 2.0), 0.5), "cost_to_go")
    assert config_for(knowing_model, "recorded", guide=beside) == replace(by_cost, guide=beside)


@pytest.mark.parametrize("guide", [None, "goal_distance", KeepOut((1.0, 2.0), 0.5)])
def test_with_another_guide_or_none_the_model_is_told_its_goal_by_a_token(knowing_model, guide):
    assert config_for(knowing_model, "re-executed", guide=guide) == PlannerConfig(**MOTION, guide=guide)


@pytest.mark.parametrize("demonstrations", BY_DEMONSTRATIONS)
def test_a_policy_has_its_own_settings(knowing_model, demonstrations):
    config = config_for(knowing_model, demonstrations, mode="policy")
    assert config == PlannerConfig(**(BY_DEMONSTRATIONS[demonstrations] | POLICY | MOTION))


def test_settings_win_over_what_suits_the_model(knowing_model):
    settings = {"candidates": 3, "pursuit_lookahead": 3, "horizon": None}
    config = config_for(knowing_model, "re-executed", **settings)
    assert {name: config.settings[name] for name in settings} == settings
    assert config.guidance.max_shift == COST_TO_GO["max_shift"]
    assert config_for(knowing_model, "recorded").execution.open_loop_horizon == 20
    with pytest.raises(InputError, match="did you mean pyramid"):
        config_for(knowing_model, "recorded", schedule="pyramide")


@pytest.mark.parametrize("settings", OWN_AGENTS.values(), ids=OWN_AGENTS)
def test_an_agent_that_is_told_its_goal_decides_alike_whether_the_model_holds_a_cost_to_go_or_not(
    tiny_model, cost_to_go, settings
):
    without = config_for(tiny_model, "re-executed", **settings)
    tiny_model.cost_to_go = cost_to_go
    assert asdict(config_for(tiny_model, "re-executed", **settings)) == asdict(without)
    assert without.guidance.goal_token and without.guidance.guide is None and without.guidance.max_shift is None


def test_the_goal_token_agent_has_the_defaults_of_the_class():
    assert PlannerConfig(**GOAL_TOKEN) == PlannerConfig()
    assert GOAL_TOKEN.keys() == COST_TO_GO.keys() | {"horizon"}


def test_monte_carlo_guidance_is_the_guided_default_with_one_plan_of_several_futures():
    default, several = PlannerConfig(**COST_TO_GO), PlannerConfig(**MONTE_CARLO_GUIDANCE)
    assert default.guidance.num_futures == several.sampling.candidates == 1 and several.guidance.num_futures > 1
    changed = {
        "candidates": default.sampling.candidates,
        "num_futures": 1,
        "future_steps": default.guidance.future_steps,
    }
    assert replace(several, **changed) == default


@pytest.mark.parametrize(
    "name", [name for name, value in vars(presets).items() if name.isupper() and isinstance(value, dict)]
)
def test_every_set_of_settings_is_one_of_the_planner(name):
    chosen = getattr(presets, name)
    if name in ("PRESETS", "BY_DEMONSTRATIONS"):
        for settings in chosen.values():
            PlannerConfig(**settings)
    else:
        PlannerConfig(**chosen)


def test_the_fast_preset_is_told_its_goal_because_no_guide_can_move_a_plan_of_one_sampling_step(knowing_model):
    config = config_for(knowing_model, "re-executed", **PRESETS["fast"])
    assert (
        config.sampling.sampling_steps == 1
        and config.guidance.guide is None
        and config.guidance.goal_token
        and config.sampling.horizon == 40
    )


def test_a_task_without_positions_and_velocities_executes_the_plans_own_actions(tiny_config):
    model = DiffusionForcing(replace(tiny_config, task=Task(3, 1)))
    config = config_for(model, "recorded")
    assert config.execution.controller == "diffused" and config.sampling.selection == "return"


def test_presets_have_another_form_in_tasks_without_a_goal():
    with_goal, without = Task(2, 1, goal=(0,)), Task(2, 1)
    for general, replaced in presets.WITHOUT_GOAL:
        assert suit_task(general, with_goal) is general
        assert suit_task(general, without) is replaced and replaced["guide"] == "return"
    assert {id(preset) for preset in PRESETS.values() if preset} < {id(general) for general, _ in presets.WITHOUT_GOAL}
    assert suit_task(POLICY, without) is POLICY


@pytest.fixture
def walker(tiny_config, cost_to_go):
    """A model of a world where actions move positions directly."""
    task = Task(2, 2, goal=(0, 1), position=(0, 1), step_length=(0.25, 0.25))
    return DiffusionForcing(replace(tiny_config, task=task), cost_to_go=cost_to_go)


def test_where_actions_move_positions_plans_go_to_subgoals_and_are_chosen_by_the_cost_to_go(walker):
    config = config_for(walker, "recorded")
    assert config.guidance.goal_token and config.guidance.subgoal == SUBGOAL["subgoal"]
    assert config.sampling.selection == "guide" and config.guidance.scales == [0.0]
    assert config.execution.controller == "pursuit" and config.sampling.horizon == walker.config.horizon
    policy = config_for(walker, "recorded", **POLICY)
    assert policy.mode == "policy" and policy.guidance.subgoal == SUBGOAL["subgoal"]
    for chosen in (GOAL_TOKEN, COST_TO_GO):
        assert config_for(walker, "recorded", **chosen).guidance.subgoal is None
    walker.cost_to_go = None
    assert config_for(walker, "recorded").guidance.subgoal is None


def test_presets_have_another_form_where_actions_move_positions(walker):
    for general, replaced in presets.WITH_SUBGOALS:
        assert suit_task(general, walker.config.task) is replaced
        config = config_for(walker, "recorded", **replaced)  # the model's plans are shorter than those of SUBGOAL
        assert config.guidance.subgoal == SUBGOAL["subgoal"] and config.sampling.horizon == walker.config.horizon
    assert config_for(walker, "recorded", goal_token=False).guidance.subgoal is None
    assert suit_task(MONTE_CARLO_GUIDANCE, walker.config.task) is MONTE_CARLO_GUIDANCE
