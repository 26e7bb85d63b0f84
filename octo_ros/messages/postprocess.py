"""From an action of the policy to what a robot is told: limits, gripper, twist, pose, joints."""

import dataclasses

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.policy.control_loop import Tick
from octo_ros.policy.gripper import Gripper
from octo_ros.policy.limits import ActionLimits
from octo_ros.policy.poses import Pose
from octo_ros.policy.poses import PoseTarget
from octo_ros.policy.poses import twist
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.types import PolicySpec

# Without a command for that long the robot may have been moved by somebody else.
_HOLD_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Command:
    """What the robot is told at one tick.

    Attributes:
        action: the limited action, by the profile's `action.names`.
        clipped: which numbers of it the limits changed.
        linear: linear velocity [m/s], or None unless the profile commands twists.
        angular: angular velocity [rad/s], or None likewise.
        pose: target pose in the base frame, or None unless the profile commands poses.
        positions: target of the joints that are not grippers, or None outside joint space.
        whole_chunk: True when the positions went out with their whole chunk.
        grippers: command for each gripper in the robot's own sense.
        chunk_id: number of the inference that the action comes from.
        step_index: index of the action in that chunk.
        observed_ns: stamp of the observation that the chunk was computed from [ns].
        due_ns: time at which this policy step begins [ns].
        stamp_ns: the time of this tick [ns].
        new_step: True on the first tick of a policy step, False when the command is repeated.
    """

    action: Float[np.ndarray, 'ad']
    clipped: Bool[np.ndarray, 'ad']
    linear: Float[np.ndarray, '3'] | None
    angular: Float[np.ndarray, '3'] | None
    pose: Pose | None
    positions: Float[np.ndarray, 'j'] | None
    whole_chunk: bool
    grippers: tuple[float, ...]
    chunk_id: int
    step_index: int
    observed_ns: int
    due_ns: int
    stamp_ns: int
    new_step: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """What to do at one tick: a command, or hold for a reason.

    Attributes:
        command: what to tell the robot, or None: hold (publish the profile's stop behaviour).
        reason: why there is no command, one line for people; '' when there is one.
        tick: what the control loop said, with the action as the policy gave it.
    """

    command: Command | None
    reason: str
    tick: Tick


class ActionShaper:
    """Applies a robot profile to actions; keeps the state of grippers and targets.

    After a hold or a reset, targets start from the measured state where there is one.
    """

    def __init__(self, profile: RobotProfile, spec: PolicySpec, *, step_s: float,
                 whole_chunks: bool) -> None:
        """Keeps how to shape.

        Args:
            profile: the robot.
            spec: the policy.
            step_s: the step that the loop really uses [s]; it overrules the profile's.
            whole_chunks: joint positions go out by the chunk, made by `trajectory`.

        Raises:
            ParameterError: the profile does not fit the policy.
        """
        self._profile = dataclasses.replace(profile, step_s=step_s)
        self._whole_chunks = whole_chunks
        self._motion = list(profile.motion_indices)
        self._limits = ActionLimits(self._profile, spec)
        self._target = PoseTarget(self._profile)
        self._grippers = tuple(Gripper(profile.gripper) for _ in profile.gripper.indices)
        self._joints: np.ndarray | None = None
        self._restarts = True
        self._step_owed = False
        self._commanded_ns: int | None = None

    def reset(self) -> None:
        """Forgets grippers; targets start from the measured state, or from the last target."""
        self._target.reset()
        for gripper in self._grippers:
            gripper.reset()
        if self._profile.action.delta:
            self._joints = None
        self._restarts = True
        self._step_owed = False
        self._commanded_ns = None

    def require_start(self, now_ns: int, problem: str) -> None:
        """Checks that targets can start if they have to, before a chunk or step is begun.

        Args:
            now_ns: the time [ns].
            problem: why the measured state is not known although it is published, or ''.

        Raises:
            ObservationError: the next target starts from the measured state, with a problem.
        """
        self._note_hold(now_ns)
        if problem and (self._restarts or self._profile.action.integration == 'measured'):
            raise ObservationError(problem)

    def command(self, tick: Tick, now_ns: int, *, pose: Pose | None = None,
                joints: Float[np.ndarray, 'j'] | None = None, problem: str = '') -> Command:
        """Shapes the action of a tick; targets and grippers advance at a new step only.

        A step that could not begin, for want of a start, begins at the next tick that can.

        Args:
            tick: a tick with an action.
            now_ns: time of the tick [ns].
            pose: measured pose of the end effector in the base frame, if known.
            joints: measured positions of the joints that are not grippers, if known.
            problem: as for `require_start`.

        Raises:
            ObservationError: a target has to start from a measured state that is not known.
        """
        self._note_hold(now_ns)
        new_step = self._step_owed = tick.new_step or self._step_owed
        if new_step:
            self.require_start(now_ns, problem)
        action, clipped = self._limits.apply(np.asarray(tick.action))
        kind = self._profile.command.type
        linear = angular = positions = None
        if self._profile.action.space == 'joint':
            action = self._joint_target(action, new_step, joints)
            positions = action[self._motion]
        elif kind == 'twist':
            linear, angular = twist(
                action, self._profile.action.euler_order, self._profile.step_s)
        target = self._pose_target(action, new_step, pose) if kind == 'pose' else None
        if new_step:
            for gripper, index in zip(
                    self._grippers, self._profile.gripper.indices, strict=True):
                gripper.step(action[index])
        grippers = tuple(g.command for g in self._grippers if g.command is not None)
        self._commanded_ns = now_ns
        self._step_owed = False
        return Command(
            action, clipped, linear, angular, target, positions, self._whole_chunks,
            grippers, tick.chunk_id, tick.step_index, tick.observed_ns, tick.due_ns, now_ns,
            new_step)

    def trajectory(self, actions: Float[np.ndarray, 'ah ad'],
                   joints: Float[np.ndarray, 'j'] | None = None, *, now_ns: int = 0,
                   observed_ns: int = 0) -> Float[np.ndarray, 'ah j']:
        """Returns the limited joint positions of a whole chunk of absolute positions.

        The row that is due now lies within reach of the present positions. Rows before it come
        too late to be followed; they lead up to it within the limits.

        Args:
            actions: one row a step; the first is due at the observation.
            joints: measured positions of the joints that are not grippers, if known.
            now_ns: the time [ns].
            observed_ns: stamp of the observation [ns].
        """
        step_ns = round(self._profile.step_s * 1e9)
        due = min(max((now_ns - observed_ns) // step_ns, 0), len(actions) - 1)
        self._note_hold(now_ns)
        limited = np.stack([self._limits.apply(row)[0] for row in actions])
        limited[due:] = self._limits.limit_changes(
            limited[due:], self._start(limited[due], joints))
        limited[:due + 1] = self._limits.limit_changes(limited[due::-1], limited[due])[::-1]
        return limited[:, self._motion]

    def _joint_target(self, action: Float[np.ndarray, 'ad'], new_step: bool,
                      joints: Float[np.ndarray, 'j'] | None) -> Float[np.ndarray, 'ad']:
        """Returns the joint target with grippers as they are in the action."""
        if self._joints is not None and not new_step:
            return self._joints
        start = self._start(action, joints)
        if not self._profile.action.delta:
            target = self._limits.limit_changes(action[None], start)[0]
        elif start is None:
            raise ObservationError(
                "joint deltas need a start: publish the joints on 'measured_joints'")
        else:
            target = start + action
            indices = list(self._profile.gripper.indices)
            target[indices] = action[indices]
        self._joints = target
        self._restarts = False
        return target

    def _note_hold(self, now_ns: int) -> None:
        if self._commanded_ns is not None and now_ns - self._commanded_ns > _HOLD_NS:
            self._restarts = True
            self._target.restart()

    def _start(self, action: Float[np.ndarray, 'ad'], joints: Float[np.ndarray, 'j'] | None
               ) -> Float[np.ndarray, 'ad'] | None:
        """Returns where the joints are or were sent last, in an array like an action."""
        follows = self._restarts or self._profile.action.integration == 'measured'
        if self._joints is not None and (joints is None or not follows):
            return self._joints
        if joints is None:
            return None
        start = np.array(action, np.float64)
        start[self._motion] = joints
        return start

    def _pose_target(self, action: Float[np.ndarray, 'ad'], new_step: bool,
                     measured: Pose | None) -> Pose:
        if self._target.pose is None or new_step:
            self._restarts &= self._target.step(action, measured) is None
        lost = measured is None and self._profile.action.integration == 'measured'
        if self._target.pose is None or (lost and not self._profile.action.start_pose):
            raise ObservationError(
                "pose targets need a start: publish the pose on 'measured_pose', or set "
                "'action.start_pose' in the robot profile")
        return self._target.pose
