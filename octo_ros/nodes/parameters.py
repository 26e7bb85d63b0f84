"""Puts a ROS-free parameter schema on a node: descriptors, ranges, strict names, the README table.

A `ParameterNode` declares whatever a user gave, so that it is there to be seen, misspelt names
too. A bad value does not kill the node in its constructor; whoever reads the values reports it
when the node is configured.
"""

import math
import sys
import typing
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from octo_ros import params
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

# rclpy declares these itself or takes them as QoS overrides.
FOREIGN_NAMES = ('use_sim_time', 'start_type_description_service')
_FOREIGN_PREFIXES = ('qos_overrides.',)
_LARGEST_INT = 2**63 - 1


class ParameterNode(Node):
    """A node that has every parameter the user gave, be it one of its own or not."""

    def __init__(self, name: str, **options: Any) -> None:
        """Makes the node; **options are for `rclpy.node.Node`."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)

    def declare_parameters(self, namespace: str, parameters: Any,
                           ignore_override: bool = False) -> Any:
        """Declares parameters as rclpy does, which calls this for what the user gave.

        An empty list has no type on the command line or in a parameter file, and rclpy refuses
        what has none. Nothing else comes without a type, so that is what it must have been.
        """
        return super().declare_parameters(
            namespace, [_with_type(*entry) for entry in parameters], ignore_override)


def _with_type(name: str, value: Any = None, *rest: Any) -> tuple[Any, ...]:
    return (name, [] if value is None else value, *rest)


def declare(node: Node, leaves: Iterable[params.Parameter], *,
            defaults: Mapping[str, Any] | None = None) -> None:
    """Declares parameters with description and range; an override that was given stays.

    Args:
        node: owner of the parameters.
        leaves: the parameters, from `params.leaves`.
        defaults: values by name that take the place of the schema's defaults.
    """
    for leaf in leaves:
        default = (defaults or {}).get(leaf.name, leaf.default)
        default = list(default) if isinstance(default, tuple) else default
        if not node.has_parameter(leaf.name):
            node.declare_parameter(leaf.name, default, _descriptor(leaf, ranged=True))
            continue
        try:
            node.set_descriptor(leaf.name, _descriptor(leaf, ranged=True))
        except InvalidParameterValueException:
            # Out of range; kept as given, so that the reader can name it and its rule.
            node.set_descriptor(leaf.name, _descriptor(leaf, ranged=False))


def given(node: Node) -> dict[str, Any]:
    """Returns every parameter of the node that has a value and is not rclpy's own, by name."""
    return {
        name: parameter.value
        for name, parameter in node.get_parameters_by_prefix('').items()
        if name not in FOREIGN_NAMES and not name.startswith(_FOREIGN_PREFIXES)
        and parameter.value is not None}


def check_change(changes: Iterable[RosParameter], leaves: Iterable[params.Parameter], *,
                 frozen: bool, lifecycle: bool = True) -> SetParametersResult:
    """Judges `ros2 param set`: names, rules, and whether the node still reads the parameter.

    Args:
        changes: the new values.
        leaves: all parameters that the node knows.
        frozen: True once the node is configured; only parameters that it follows at run time
            may change then.
        lifecycle: whether the node can be configured anew; else it has to be started anew.
    """
    advice = ('is read when the node is configured; deactivate and clean it up first' if lifecycle
              else 'is read when the node starts; start it anew with the new value')
    known = {leaf.name: leaf for leaf in leaves}
    for change in changes:
        if change.name in FOREIGN_NAMES or change.name.startswith(_FOREIGN_PREFIXES):
            continue
        reason = ''
        if change.name not in known:
            hint = closest(change.name, [*known, *FOREIGN_NAMES])
            reason = f"unknown parameter '{change.name}'{hint}"
        elif frozen and known[change.name].rules.read_only:
            reason = f"'{change.name}' {advice}"
        else:
            reason = _broken(known[change.name], change.value)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def _broken(leaf: params.Parameter, value: Any) -> str:
    try:
        params.check(leaf, value, source='parameter')
    except ParameterError as error:
        return str(error)
    return ''


def _descriptor(leaf: params.Parameter, *, ranged: bool) -> ParameterDescriptor:
    unit = f' [{leaf.rules.unit}]' if leaf.rules.unit else ''
    descriptor = ParameterDescriptor(
        name=leaf.name,
        description=leaf.rules.description + unit,
        additional_constraints=leaf.rules.text(),
        # Lets a whole number stand for a number in a file, and a wrong type be reported by name.
        dynamic_typing=True)
    if ranged and leaf.type is float:
        descriptor.floating_point_range = _float_range(leaf.rules)
    if ranged and leaf.type is int:
        descriptor.integer_range = _integer_range(leaf.rules)
    return descriptor


def _float_range(rules: params.Rules) -> list[FloatingPointRange]:
    lows = [value for value in (rules.ge, _next(rules.gt, math.inf)) if value is not None]
    highs = [value for value in (rules.le, _next(rules.lt, -math.inf)) if value is not None]
    if not lows and not highs:
        return []
    return [FloatingPointRange(
        from_value=float(max(lows, default=-sys.float_info.max)),
        to_value=float(min(highs, default=sys.float_info.max)))]


def _next(value: float | None, towards: float) -> float | None:
    return None if value is None else math.nextafter(value, towards)


def _integer_range(rules: params.Rules) -> list[IntegerRange]:
    lows = [value for value in (rules.ge, None if rules.gt is None else rules.gt + 1)
            if value is not None]
    highs = [value for value in (rules.le, None if rules.lt is None else rules.lt - 1)
             if value is not None]
    if not lows and not highs:
        return []
    return [IntegerRange(from_value=int(max(lows, default=-_LARGEST_INT)),
                         to_value=int(min(highs, default=_LARGEST_INT)))]


def table(schema: type, prefix: str = '') -> str:
    """Returns the parameters of a schema as a Markdown table, as it stands in the README."""
    rows = ['| parameter | type | default | meaning |', '|---|---|---|---|']
    for leaf in params.leaves(schema, prefix):
        unit = f' [{leaf.rules.unit}]' if leaf.rules.unit else ''
        limits = f' ({leaf.rules.text()})' if leaf.rules.text() else ''
        live = '' if leaf.rules.read_only else ' Can be changed at run time.'
        meaning = f'{leaf.rules.description}{unit}{limits}{live}'.replace('|', '\\|')
        rows.append(f'| `{leaf.name}` | {_type_name(leaf.type)} | {_text(leaf.default)} '
                    f'| {meaning} |')
    return '\n'.join(rows) + '\n'


def _type_name(python_type: Any) -> str:
    names = {bool: 'bool', int: 'int', float: 'double', str: 'string'}
    if typing.get_origin(python_type) is tuple:
        return names[typing.get_args(python_type)[0]] + '[]'
    return names[python_type]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return f'`{str(value).lower()}`'
    if isinstance(value, tuple):
        return '`[' + ', '.join(str(item) for item in value) + ']`'
    return f'`{value!r}`' if isinstance(value, str) else f'`{value}`'
