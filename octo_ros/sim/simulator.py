"""The simulated robot and table: reset by seed, command, advance time, observe."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import ParameterError
from octo_ros.sim import scene
from octo_ros.sim import viperx
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.arm import Arm
from octo_ros.sim.arm import Target
from octo_ros.sim.gl import load_mujoco
from octo_ros.sim.kinematics import rpy_from_rotation
from octo_ros.sim.randomization import Layout
from octo_ros.sim.randomization import SceneParams
from octo_ros.sim.randomization import apply_layout
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.renderer import Renderer
from octo_ros.sim.state import Observation
from octo_ros.sim.state import SceneState
from octo_ros.sim.viewer import Viewer

SERVO_PERIOD_S = 0.02  # set points move at 50 Hz
_MAX_OPENING = 2.0 * (viperx.FINGER_OPEN - viperx.FINGER_CLOSED)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The whole changing state of a simulation, to come back to."""

    layout: Layout
    physics: Float[np.ndarray, 'n']
    target: Target
    remaining_s: float


class Simulator:
    """One arm at a table. Use it in one thread, that of the first picture: OpenGL belongs to it.

    Attributes:
        layout: the scene as it was set up by the last reset.
        arm: takes commands: `move_by`, `move_to`, `move_joints`.
    """

    def __init__(self, params: SceneParams | None = None, *, seed: int = 0) -> None:
        """Loads the model and resets to a seed. Raises ParameterError if a package is missing."""
        self._mujoco = load_mujoco()
        self._params = params or SceneParams()
        self._model = scene.load_model()
        self._data = self._mujoco.MjData(self._model)
        self._renderer: Renderer | None = None
        self.arm = Arm(self._model, self._data)
        self._substeps = round(SERVO_PERIOD_S / self._model.opt.timestep)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Sets up the scene of a seed; the clock goes back to zero."""
        self.reset_to(sample_layout(seed, self._params))

    def reset_to(self, layout: Layout) -> None:
        """Sets up a given scene; the clock goes back to zero."""
        self.layout = layout
        self._mujoco.mj_resetData(self._model, self._data)
        apply_layout(self._model, self._data, layout)
        self.arm.place(np.asarray(layout.ee_position))
        self._mujoco.mj_forward(self._model, self._data)

    def step(self, action: Float[np.ndarray, '7']) -> None:
        """Does one action of the policy (see Arm.move_by) and advances by its duration."""
        self.arm.move_by(action)
        self.advance(STEP_S)

    def advance(self, duration_s: float) -> None:
        """Advances physics. Whole servo periods only: 0.05 s is done as 0.06 s.

        Raises:
            ParameterError: the duration is negative or not finite.
        """
        if not 0.0 <= duration_s < np.inf:
            raise ParameterError(f'duration must be finite and >= 0, got {duration_s}')
        for _ in range(int(np.ceil(duration_s / SERVO_PERIOD_S - 1e-6))):
            self.arm.drive(SERVO_PERIOD_S)
            self._mujoco.mj_step(self._model, self._data, self._substeps)
        # Site and body poses lag by one physics step after mj_step.
        self._mujoco.mj_kinematics(self._model, self._data)

    @property
    def time_ns(self) -> int:
        """Simulated time since the last reset [ns]."""
        return round(self._data.time * 1e9)

    def observe(self, cameras: Sequence[str] = scene.CAMERAS) -> Observation:
        """Returns what the robot measures now; without cameras nothing is drawn."""
        site = self._data.site('ee')
        return Observation(
            stamp_ns=self.time_ns,
            images={camera: self.render(camera) for camera in cameras},
            joints=self.arm.joints(), ee_position=site.xpos.copy(),
            ee_rpy=rpy_from_rotation(site.xmat.reshape(3, 3)),
            gripper=float(np.clip(self.arm.opening() / _MAX_OPENING, 0.0, 1.0)))

    def render(self, camera: str, size: int | None = None) -> UInt8[np.ndarray, 's s 3']:
        """Returns the view of `primary` or `wrist` (see Renderer.render)."""
        if self._renderer is None:
            self._renderer = Renderer(self._model)
        # Camera and light poses follow the bodies only when they are computed.
        self._mujoco.mj_camlight(self._model, self._data)
        return self._renderer.render(self._data, camera, size)

    def window(self) -> Viewer:
        """Opens a window onto the scene; `show` brings it up to date. Raises ParameterError."""
        return Viewer(self._model, self._data)

    def state(self) -> SceneState:
        """Returns the true state of the scene."""
        data = self._data
        target = self.arm.target
        return SceneState(
            ee_position=data.site('ee').xpos.copy(),
            target_position=target.position.copy(),
            target_rpy=rpy_from_rotation(target.rotation),
            opening=self.arm.opening(),
            blocks={colour: data.body(f'{colour}_block').xpos.copy()
                    for colour in scene.COLOURS},
            block_speeds={colour: float(np.linalg.norm(data.joint(f'{colour}_block').qvel[:3]))
                          for colour in scene.COLOURS},
            containers={name: np.array([*self.layout.containers[name][:2], 0.0])
                        for name in scene.CONTAINERS})

    def snapshot(self) -> Snapshot:
        """Returns everything needed to come back to this moment."""
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.empty(self._mujoco.mj_stateSize(self._model, kind))
        self._mujoco.mj_getState(self._model, self._data, physics, kind)
        return Snapshot(self.layout, physics, self.arm.target.copy(), self.arm.remaining_s())

    def restore(self, snapshot: Snapshot) -> None:
        """Comes back to a moment of this simulator."""
        self.reset_to(snapshot.layout)
        kind: Any = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(self._model, self._data, snapshot.physics, kind)
        self.arm.restore(snapshot.target, snapshot.remaining_s)
        self._mujoco.mj_forward(self._model, self._data)

    def close(self) -> None:
        """Frees what drawing needs; a second call does nothing."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
