"""Picks out of a recording what the result of a replay keeps: actions, views and when it began."""

import dataclasses
import logging
import statistics
from collections.abc import Sequence

import numpy as np

from octo_ros.bags.command_actions import command_actions
from octo_ros.bags.command_actions import is_command
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.episodes import action_stamp_ns
from octo_ros.bags.episodes import require_finite
from octo_ros.bags.joint_names import ActionReader
from octo_ros.bags.reader import BagMessage
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.bags.results import ReplayResult
from octo_ros.data.grippers import Grippers
from octo_ros.errors import BagError
from octo_ros.messages.conversions import stamp_ns
from octo_ros.policy.profile import RobotProfile

_LOG = logging.getLogger('octo_ros.bags')
_NS = 1_000_000_000
_MOST_VIEWS = 64


class Gathering:
    """Picks out of a recording what the result keeps of it.

    Attributes:
        result: grows with every message.
    """

    def __init__(self, topics: TopicMap, names: Sequence[str], reference: str,
                 step_ns: int, robot: RobotProfile | None = None,
                 grippers: Grippers | None = None) -> None:
        """Starts with nothing.

        Args:
            topics: roles of the recording's topics.
            names: of the action dimensions.
            reference: stream name of the camera whose views are kept.
            step_ns: duration of a policy step [ns].
            robot: its profile, by which twists and poses become actions.
            grippers: units of the recorded grippers; taken as they are when None.
        """
        self.result = ReplayResult()
        self._topics = topics
        self._names = tuple(names)
        self._read_action = ActionReader(names)
        self._step_ns = step_ns
        self._robot = robot if robot is None or grippers is None else grippers.robot(robot)
        self._grippers = grippers
        self._commands = RecordedStream(topics.action or '')
        self._gripper = RecordedStream(topics.gripper or '')
        self._camera = topics.streams[reference]
        self._faults = 0
        self._first_fault: BagError | None = None
        self._view_stride = 1
        self._seen_views = 0
        self._ahead_ns: list[int] = []

    def take(self, message: BagMessage) -> None:
        """Keeps a recorded action, and now and then a view."""
        self.result.start_ns = self.result.start_ns or message.log_ns
        self.result.end_ns = max(self.result.end_ns, message.log_ns)
        if message.topic == self._topics.action:
            if is_command(message.message):
                self._commands.add(message.message, message.log_ns)
            else:
                self._keep_action(message)
        elif message.topic == self._topics.gripper:
            self._gripper.add(message.message, message.log_ns)
        elif message.topic == self._camera:
            self._keep_view(message)
            if stamp := stamp_ns(message.message):
                self._ahead_ns.append(message.log_ns - stamp)

    def finish(self, task: str) -> ReplayResult:
        """Puts the nearest recorded action, at most half a step away, beside each step.

        Raises:
            BagError: the topic of the action was asked for, and none of its actions fits.
        """
        if self._commands.messages:
            self._keep_commands()
        self._tell_of_faults()
        self._scale_grippers()
        recorded = self.result.recorded
        stamps = np.array([stamp_ns for stamp_ns, _ in recorded], np.int64)
        for index, step in enumerate(self.result.steps if recorded else ()):
            nearest = int(np.abs(stamps - step.stamp_ns).argmin())
            if abs(int(stamps[nearest]) - step.stamp_ns) <= self._step_ns // 2:
                self.result.steps[index] = dataclasses.replace(
                    step, recorded=recorded[nearest][1])
        if self._ahead_ns:
            self.result.clock_offset_s = statistics.median(self._ahead_ns) / _NS
        self.result.task = task
        return self.result

    def _keep_action(self, message: BagMessage) -> None:
        stamp_ns = action_stamp_ns(message.message, message.log_ns)
        try:
            action = self._read_action(message.message)
            require_finite(action, self._names)
        except BagError as error:
            self._faults += 1
            time_s = (message.log_ns - self.result.start_ns) / _NS
            self._first_fault = self._first_fault or BagError(
                f"'{message.topic}' at {time_s:.3f} s: {error}")
            return
        self.result.recorded.append((stamp_ns, action))

    def _keep_commands(self) -> None:
        for stream in (self._commands, self._gripper):
            stream.sort(self._step_ns / 2)
        found = command_actions(self._commands, self._gripper, self._robot)
        for trouble in found.troubles[:1]:
            _LOG.warning("'%s' at %.3f s: %s; %d of %d are left out", self._commands.topic,
                         (self._commands.stamps[trouble.row] - self.result.start_ns) / _NS,
                         trouble.text, len(found.troubles), len(self._commands.messages))
        self.result.recorded += [(begin_ns, action) for begin_ns, action in found.steps
                                 if np.isfinite(action).all()]

    def _scale_grippers(self) -> None:
        """Brings the grippers into the policy's units, and tells once of what is in others."""
        recorded, grippers = self.result.recorded, self._grippers
        if grippers is None or not recorded:
            return
        actions = grippers.scaled(np.stack([action for _, action in recorded]))
        for text in grippers.faults(actions):
            _LOG.warning("'%s': %s", self._topics.gripper or self._topics.action, text)
        self.result.recorded = [(stamp_ns, action) for (stamp_ns, _), action in zip(
            recorded, grippers.clipped(actions), strict=True)]

    def _tell_of_faults(self) -> None:
        if self._first_fault is None:
            return
        if self.result.recorded:
            _LOG.warning('%s; %d of %d are left out', self._first_fault, self._faults,
                         self._faults + len(self.result.recorded))
        elif self._topics.action_guessed:
            _LOG.warning('there is no comparison with recorded actions: %s', self._first_fault)
        else:
            raise self._first_fault

    def _keep_view(self, message: BagMessage) -> None:
        """Keeps a bounded number of views, evenly spread over what has come so far."""
        views = self.result.views
        if self._seen_views % self._view_stride == 0:
            views.append((message.log_ns, message.message))
        self._seen_views += 1
        if len(views) > _MOST_VIEWS:
            del views[1::2]
            self._view_stride *= 2
