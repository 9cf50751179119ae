"""Arguments of types that the annotations forbid. Users run without the type checks of the tests."""

import json
import subprocess
import sys

import pytest

CALLS = {
    "Task(4, 2, reward_of=None)": "there is no reward_of None; known are state, transition.",
    "Task(4, 2, rests=1)": "rests must be True or False, not 1.",
    "recording.take(2.5)": "rows must be a whole number above 0, not 2.5.",
    "recording.take('3')": "rows must be a whole number above 0, not '3'.",
    "train(recording, 'Pendulum-v1', output='.', minutes='3')": "minutes must be a finite number above 0, not '3'.",
    "train(recording, 'Pendulum-v1', output='.', task={})": "task must be a dfplan.Task, not {}.",
    "train(recording, 'Pendulum-v1', output='.', horizon='4')": (
        "horizon must be at least 1 step, and a whole number of them, not '4'."
    ),
    "train(recording, 'Pendulum-v1', output='.', frame_stack=1.5)": (
        "frame_stack must be at least 1 step, and a whole number of them, not 1.5."
    ),
    "train(recording, 'Pendulum-v1', output='.', minute=3)": "there is no argument 'minute'; did you mean minutes?",
    "train(recording, 'Pendulum-v1', output='.', goal='none')": (
        "task.goal must be a list of channel numbers, such as (0, 1) or () for none, not 'none'."
    ),
    "Recording.load(None)": "a recording is a file, a Minari id or folder, a dictionary of columns",
    "evaluate('runs/mine', 'Pendulum-v1')": "an agent has reset() and act(), as that of DFPlanner.load(...) has, and",
    "evaluate(RandomAgent(), 'maze2d-umaze', episodes=2.5)": "episodes must be a whole number of at least 1, not 2.5.",
    "evaluate(RandomAgent(), 'maze2d-umaze', seed=-1)": "seed must be a whole number of at least 0, not -1.",
    "RandomAgent().reset(seed='a')": "a seed is a whole number of at least 0, or one for each episode, not 'a'.",
    "PlannerConfig(open_loop_horizon=2.5)": "open_loop_horizon must be a whole number of at least 1 step, not 2.5.",
    "train(recording, 'Pendulum-v1', output='.', model={3: 4})": "there is no setting of the model 3; known are",
}
PROGRAM = """
import json, sys
import numpy as np
from dfplan import Recording, Task, evaluate, train
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.random_agent import RandomAgent
columns = {"observations": np.zeros((9, 3)), "actions": np.zeros((9, 1)), "timeouts": [0] * 9, "rewards": range(9)}
recording = Recording.from_rows(columns)
messages = []
for call in json.loads(sys.argv[1]):
    try:
        eval(call)
        messages.append(None)
    except ValueError as error:
        messages.append(str(error))
numbers = Task(np.int64(3), np.int64(1), max_episode_steps=np.int64(7), rests=np.bool_(False))
print(json.dumps([messages, vars(numbers)]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The messages of all calls by one program without type checks, and a task made of NumPy's numbers."""
    words = [sys.executable, "-c", PROGRAM, json.dumps(list(CALLS))]
    folder = tmp_path_factory.mktemp("empty")
    ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder)
    assert not list(folder.iterdir())
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CALLS)), ids=list(CALLS))
def test_a_wrong_type_is_answered_in_a_sentence(answers, number):
    message = answers[0][number]
    assert message is not None and message.startswith(list(CALLS.values())[number]) and "\n" not in message


def test_numbers_of_numpy_become_those_of_python(answers):
    expected = {"observation_dim": 3, "action_dim": 1, "max_episode_steps": 7, "rests": False}
    assert {name: answers[1][name] for name in expected} == expected
