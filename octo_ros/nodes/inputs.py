"""What the controller listens to. Callbacks store; nothing is decoded here."""

from collections.abc import Callable
from collections.abc import MutableMapping
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from octo_ros.errors import TaskError
from octo_ros.messages.ingest import MEASURED_JOINTS
from octo_ros.messages.ingest import MEASURED_POSE
from octo_ros.messages.runtime import Runtime
from octo_ros.nodes import qos
from octo_ros.nodes.goals import Goals
from octo_ros.nodes.latched import LatchedSubscription
from octo_ros.nodes.schema import in_full
from octo_ros.nodes.silence import SilentStreams
from octo_ros.policy.proprio import PROPRIO

_TYPES = {PROPRIO: JointState, MEASURED_JOINTS: JointState, MEASURED_POSE: PoseStamped}
_INSTRUCTION = 'instruction'
_IMAGE_TYPES = {'raw': Image, 'compressed': CompressedImage}


class Inputs:
    """The subscriptions of a configured controller."""

    def __init__(self, node: Node, runtime: Runtime, *, transport: str, stream_qos: str,
                 past: MutableMapping[str, tuple[int, ...]],
                 on_instruction: Callable[[str], Any]) -> None:
        """Subscribes to cameras, further streams, instruction and goals.

        Args:
            node: owner of the subscriptions.
            runtime: takes the messages.
            transport: `raw` or `compressed`, for cameras and goals.
            stream_qos: name of the quality of service of cameras and further streams.
            past: topic to stamps of messages that must not come again, from one `Inputs` of a
                node to the next.
            on_instruction: told of the text that the topic or `clear_task` brought into force.
        """
        self._node = node
        self._runtime = runtime
        self._past = past
        self._show_instruction = on_instruction
        self._refused = False
        self._silence = SilentStreams(node)
        streams = MutuallyExclusiveCallbackGroup()
        task = MutuallyExclusiveCallbackGroup()
        image = _IMAGE_TYPES[transport]
        self._streams = {
            name: node.create_subscription(
                _TYPES.get(name, image), name, self._storing(name), qos.named(stream_qos),
                callback_group=streams)
            for name in runtime.streams}
        self._instruction = LatchedSubscription(
            node, String, _INSTRUCTION, self._on_instruction, task,
            past=past.get(_INSTRUCTION, ()))
        self._goals = Goals(node, runtime, image, task, past)

    @property
    def topics(self) -> dict[str, str]:
        """Stream name to the topic it comes from, remapping done."""
        return {name: subscription.topic_name for name, subscription in self._streams.items()}

    def set_instruction(self, text: str) -> None:
        """Hands a new instruction on. Raises TaskError when it cannot be used."""
        for note in self._runtime.set_instruction(text):
            self._node.get_logger().info(note)
        self._node.get_logger().info(
            described(text) if text else 'The instruction was taken away')

    def warn_of_silence(self) -> None:
        """Warns once of each topic that the policy waits for in vain."""
        health = self._runtime.health(self._node.get_clock().now().nanoseconds)
        self._silence.check({name: self.topics[name] for name, stream in health.items()
                             if stream.required and not stream.received})

    def warn_of_strays(self) -> None:
        """Warns once of each topic with a goal that cannot be taken."""
        self._goals.warn_of_strays()

    def clear_task(self) -> None:
        """Takes the task away, and with it goals that were received but not decoded yet."""
        self._goals.forget()
        self._runtime.clear_task()
        self._show_instruction('')

    def destroy(self) -> None:
        """Ends all subscriptions."""
        for stream in self._streams.values():
            self._node.destroy_subscription(stream)
        self._instruction.destroy()
        # Its words live on in the parameter, where they may have been replaced or taken away.
        self._past[_INSTRUCTION] = self._instruction.heard
        self._goals.destroy()

    def _storing(self, name: str) -> Callable[[Any], None]:
        clock = self._node.get_clock()

        def store(message: Any) -> None:
            self._runtime.store(name, message, clock.now().nanoseconds)

        return store

    def _on_instruction(self, message: String) -> None:
        if message.data == (self._runtime.task.text or ''):
            self._tell_of_recovery()
            return
        try:
            self.set_instruction(message.data)
        except TaskError as error:
            if not self._refused:
                self._node.get_logger().error(
                    f'instruction: {in_full(str(error))}; the task stays as it was')
            self._refused = True
            return
        self._show_instruction(message.data)
        self._tell_of_recovery()

    def _tell_of_recovery(self) -> None:
        if self._refused:
            self._node.get_logger().info('instruction: it can be used again')
        self._refused = False


def described(text: str, length: int = 80) -> str:
    """Returns the line of the log on an instruction."""
    if not text:
        return 'No instruction yet'
    shortened = text if len(text) <= length else f'{text[:length]}… ({len(text)} characters)'
    return f"Instruction: '{shortened}'"
