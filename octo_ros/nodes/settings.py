"""The controller's parameters on its node: declared at start, read when it is configured."""

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from octo_ros import params
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.nodes import parameters
from octo_ros.nodes import schema
from octo_ros.policy.profile import load_profile

_PREFIX = 'profile.'


class Settings:
    """Parameters of a node, with those of the robot profile below `profile.`.

    A value below `profile.` that differs from the profile's file is an override. It stays one
    when the parameter `robot` changes before the node is configured again.
    """

    def __init__(self, node: parameters.ParameterNode,
                 on_instruction: Callable[[str], str]) -> None:
        """Declares all parameters; bad values are reported by `read`.

        Args:
            node: owner of the parameters.
            on_instruction: applies a new text; returns '' or why it is refused.
        """
        self._node = node
        self._on_instruction = on_instruction
        self._leaves = list(schema.controller_leaves())
        self._overrides = {name: value for name, value in parameters.given(node).items()
                           if name.startswith(_PREFIX)}
        self._writing = False
        self.frozen = False
        parameters.declare(node, self._leaves, defaults=self._file_values())
        node.add_on_set_parameters_callback(self._on_change)

    def read(self) -> schema.ControllerParams:
        """Returns the parameters.

        Raises:
            ParameterError: a name is unknown, a value breaks its rule, or there is no such robot.
        """
        values = parameters.given(self._node)
        profile = load_profile(_text(values.get('robot', schema.ControllerParams.robot)))
        from_file = {_PREFIX + name: value for name, value in params.to_flat(profile).items()}
        read = schema.build({**values, **from_file, **self._overrides},
                            source=f'parameters of {self._node.get_name()}')
        self._show(params.to_flat(read))
        return read

    def show_instruction(self, text: str) -> None:
        """Keeps the parameter at the text in force, for the next `read` and for those who ask."""
        self._write([Parameter('instruction', value=text)])

    def _file_values(self) -> dict[str, Any]:
        robot = parameters.given(self._node).get('robot', schema.ControllerParams.robot)
        try:
            profile = load_profile(_text(robot))
        except OctoError:  # `read` says so when the node is configured
            return {}
        return {_PREFIX + name: value for name, value in params.to_flat(profile).items()}

    def _show(self, flat: dict[str, Any]) -> None:
        """Lets `ros2 param get` tell the values of the profile that is in use."""
        self._write([Parameter(name, value=list(value) if isinstance(value, tuple) else value)
                     for name, value in flat.items()
                     if name.startswith(_PREFIX) and self._node.has_parameter(name)])

    def _write(self, values: list[Parameter]) -> None:
        self._writing = True
        try:
            self._node.set_parameters(values)
        finally:
            self._writing = False

    def _on_change(self, changes: list[Parameter]) -> SetParametersResult:
        if self._writing:
            return SetParametersResult(successful=True)
        result = parameters.check_change(changes, self._leaves, frozen=self.frozen)
        if not result.successful:
            return result
        for change in changes:
            if change.name == 'instruction':
                refusal = self._on_instruction(change.value)
                if refusal:
                    return SetParametersResult(successful=False, reason=refusal)
        self._overrides.update({change.name: change.value for change in changes
                                if change.name.startswith(_PREFIX)})
        return result


def _text(robot: Any) -> str:
    if not isinstance(robot, str):
        raise ParameterError(f"'robot' must be a string, got {type(robot).__name__} {robot!r}")
    return robot
