"""The point mass of D4RL's mazes on MuJoCo, for any number of balls at once.

The constants are those of D4RL's ``maze2d-*-v1``. Transitions that D4RL recorded with MuJoCo 2 are reproduced to 1e-5,
also during wall contacts. With later versions of MuJoCo this needs two corrections (``_find_geom_margin`` and
``_compile``). D4RL's ground plane is left out: it can only push the ball upwards, and the ball cannot move upwards.
"""

from functools import cache

import mujoco
import numpy as np
from jaxtyping import Float
from mujoco import rollout

from dfplan.envs.layouts import Layout

TIMESTEP = 0.01  # seconds; one environment step is one physics step
MAX_VELOCITY = 5.0  # environment units per second, each component, before a step
BALL_RADIUS = 0.1
CONTACT_MARGIN = 0.002  # environment units; distance at which a contact starts to push, in D4RL's model

_MODEL = """
<mujoco>
  <compiler inertiafromgeom="true" angle="radian"/>
  <option timestep="{timestep}" gravity="0 0 0" iterations="20" integrator="Euler"/>
  <default>
    <joint damping="1" limited="false"/>
    <geom friction=".5 .1 .1" density="1000" margin="{margin}" condim="1" contype="2" conaffinity="1"/>
  </default>
  <worldbody>
    <body name="ball" pos="1.2 1.2 0">
      <geom type="sphere" size="{radius}" contype="1"/>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
    </body>
    {walls}
  </worldbody>
  <actuator>
    <motor joint="x" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
    <motor joint="y" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </actuator>
</mujoco>
"""


class PointMassPhysics:
    """Simulates balls in one maze, each for itself. A step depends on the states and actions only."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._model = _compile(layout)
        self._data = mujoco.MjData(self._model)

    def __reduce__(self) -> tuple:
        """Tell pickle to compile the model again, so that environments can be copied and pickled."""
        return PointMassPhysics, (self.layout,)

    def step(
        self, states: Float[np.ndarray, "batch 4"], actions: Float[np.ndarray, "batch 2"]
    ) -> Float[np.ndarray, "batch 4"]:
        """Return the states (x, y, vx, vy) after one step.

        As in D4RL, velocities are clipped to ±5 before the step, so they may be somewhat larger after it. Actions are
        clipped to ±1.
        """
        before = np.zeros((len(states), 5))  # time, then position, then velocity: MuJoCo's order
        before[:, 1:3] = states[:, :2]
        np.clip(states[:, 2:], -MAX_VELOCITY, MAX_VELOCITY, out=before[:, 3:])
        control = np.clip(actions, -1.0, 1.0, dtype=np.float64)[:, None]  # (batch, 1 step, 2)
        after, _ = rollout.rollout(self._model, self._data, before, control)
        return after[:, 0, 1:]


def _compile(layout: Layout) -> mujoco.MjModel:
    """Compile the maze, with the inverse weight that MuJoCo 2 gave to a ball on two slide joints.

    The inverse weight determines the stiffness of contacts. MuJoCo 2 used the mean over three directions, of which two
    are free: 2 / (3 mass). Later versions compute it differently, so that balls would bounce off walls differently.
    """
    walls = "\n".join(
        f'<geom type="box" pos="{x + 1} {y + 1} 0" size="0.5 0.5 0.2"/>' for x, y in np.argwhere(layout.walls)
    )
    text = _MODEL.format(timestep=TIMESTEP, margin=_find_geom_margin(), radius=BALL_RADIUS, walls=walls)
    model = mujoco.MjModel.from_xml_string(text)
    ball = model.body("ball").id
    model.body_invweight0[ball, 0] = 2.0 / (3.0 * model.body_mass[ball])
    return model


@cache
def _find_geom_margin() -> float:
    """Return the margin of a geom with which contacts have the margin of D4RL's model.

    In MuJoCo 2 the margin of a contact is the larger one of its two geoms, in later versions it is their sum. The
    function simulates two spheres whose distance is between one and two margins: they touch only if margins are added.
    """
    probe = """
    <mujoco><worldbody>
      <geom type="sphere" size="0.1" margin="0.1"/>
      <body pos="0.35 0 0"><joint/><geom type="sphere" size="0.1" margin="0.1"/></body>
    </worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(probe)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    margins_add_up = data.ncon == 1
    return CONTACT_MARGIN / 2 if margins_add_up else CONTACT_MARGIN
