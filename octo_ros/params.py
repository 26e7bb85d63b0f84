"""The ROS-free parameter schema: frozen dataclasses whose fields carry meaning, unit and limits.

A group of parameters is a frozen dataclass whose fields are made by `param`; groups nest. Names
are the dotted paths of the fields (`cartesian.max_speed`), the same in YAML files, in ROS
parameters, in the generated tables of the README and in error messages.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from octo_ros.errors import ParameterError
from octo_ros.errors import closest

_T = TypeVar('_T')
_RULES = 'octo_ros.rules'
# YAML 1.1 takes 1e-3 for a text, for it has no dot.
_EXPONENT = re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+')
# It also takes on and off for booleans.
_SWITCH = {True: 'on', False: 'off'}
_TYPE_WORDS = {int: 'whole number', float: 'number', bool: 'boolean', str: 'string'}


@dataclasses.dataclass(frozen=True)
class Rules:
    """What `param` says of a field: its meaning and the values it may take."""

    description: str
    unit: str = ''
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    one_of: tuple[Any, ...] | None = None
    length: int | None = None
    read_only: bool = True

    def text(self) -> str:
        """Returns the limits as words, such as `> 0.0 and <= 1.0`; empty when there are none."""
        signs = (('>', self.gt), ('>=', self.ge), ('<', self.lt), ('<=', self.le))
        parts = [f'{sign} {value}' for sign, value in signs if value is not None]
        if self.one_of is not None:
            parts.append('one of ' + ', '.join(repr(item) for item in self.one_of))
        if self.length is not None:
            parts.append(f'{self.length} numbers or none')
        return ' and '.join(parts)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One leaf of a schema: its dotted name, Python type, default and rules."""

    name: str
    type: Any
    default: Any
    rules: Rules


def param(default: Any, description: str, **rules: Any) -> Any:
    """Declares a field of a parameter dataclass.

    Args:
        default: value used when nothing else is given; a tuple for arrays.
        description: one sentence; the unit goes into `unit`.
        **rules: fields of `Rules` (unit, gt, ge, lt, le, one_of, length, read_only).
    """
    return dataclasses.field(
        default=default, metadata={_RULES: Rules(description, **rules)})


def group(factory: type[_T]) -> _T:
    """Declares a nested group of parameters with its own defaults."""
    return dataclasses.field(default_factory=factory)


def leaves(schema: type, prefix: str = '') -> Iterator[Parameter]:
    """Yields every parameter of a schema with its dotted name, in order of declaration."""
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name = prefix + field.name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from leaves(hints[field.name], name + '.')
        else:
            yield Parameter(name, hints[field.name], field.default, field.metadata[_RULES])


def from_flat(schema: type[_T], values: Mapping[str, Any], *, source: str = 'parameters',
              beside: Iterable[str] = ()) -> _T:
    """Builds a schema from dotted names; what is not given keeps its default.

    Args:
        schema: a dataclass made of `param` and `group` fields.
        values: dotted name to value.
        source: where the values come from (a file name, say), for error messages.
        beside: names that somebody else reads, which may be what a misspelt one was meant to be.

    Raises:
        ParameterError: a name is unknown, or a value has the wrong type or is out of range.
    """
    known = {leaf.name: leaf for leaf in leaves(schema)}
    for name in values:
        if name not in known:
            raise ParameterError(
                f"{source}: unknown parameter '{name}'{closest(name, [*known, *beside])}")
    checked = {name: check(known[name], value, source=source) for name, value in values.items()}
    return _build(schema, '', checked)


def from_nested(schema: type[_T], tree: Mapping[str, Any], *, source: str = 'parameters') -> _T:
    """Builds a schema from nested mappings, as a YAML file gives them. Raises as `from_flat`."""
    return from_flat(schema, flatten(tree), source=source)


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Turns nested mappings into dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def to_flat(instance: Any) -> dict[str, Any]:
    """Returns every parameter of an instance by dotted name."""
    return {leaf.name: _get(instance, leaf.name) for leaf in leaves(type(instance))}


def _get(instance: Any, name: str) -> Any:
    for part in name.split('.'):
        instance = getattr(instance, part)
    return instance


def _build(schema: type[_T], prefix: str, values: Mapping[str, Any]) -> _T:
    hints = typing.get_type_hints(schema)
    arguments = {}
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        name = prefix + field.name
        if dataclasses.is_dataclass(hints[field.name]):
            arguments[field.name] = _build(hints[field.name], name + '.', values)
        elif name in values:
            arguments[field.name] = values[name]
    return schema(**arguments)


def check(leaf: Parameter, value: Any, *, source: str) -> Any:
    """Returns a value in the type of its parameter. Raises ParameterError if it breaks a rule."""
    value = _convert(leaf, value, source)
    for item in value if isinstance(value, tuple) else (value,):
        problem = _broken_rule(leaf.rules, item)
        if problem:
            raise ParameterError(f"{source}: '{leaf.name}' must be {problem}, got {item!r}")
    length = leaf.rules.length
    if length is not None and len(value) not in (0, length):
        raise ParameterError(
            f"{source}: '{leaf.name}' must hold {length} numbers or none, got {len(value)}")
    return value


def _broken_rule(rules: Rules, item: Any) -> str:
    tests: Sequence[tuple[Any, str, Callable[[Any, Any], bool]]] = (
        (rules.gt, '>', lambda x, y: x > y),
        (rules.ge, '>=', lambda x, y: x >= y),
        (rules.lt, '<', lambda x, y: x < y),
        (rules.le, '<=', lambda x, y: x <= y),
    )
    for limit, sign, holds in tests:
        if limit is not None and not holds(item, limit):
            return f'{sign} {limit}'
    if rules.one_of is not None and item not in rules.one_of:
        hint = closest(str(item), [str(choice) for choice in rules.one_of])
        return 'one of ' + ', '.join(repr(choice) for choice in rules.one_of) + hint
    return ''


def _convert(leaf: Parameter, value: Any, source: str) -> Any:
    wanted = typing.get_origin(leaf.type) or leaf.type
    if wanted is tuple:
        item_type = typing.get_args(leaf.type)[0]
        if isinstance(value, str) or not hasattr(value, '__iter__'):
            raise _type_error(leaf, value, source)
        return tuple(_scalar(leaf, item_type, item, source) for item in value)
    return _scalar(leaf, wanted, value, source)


def _scalar(leaf: Parameter, wanted: type, value: Any, source: str) -> Any:
    if wanted is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ParameterError(f"{source}: '{leaf.name}' must be finite, got {value}")
        return float(value)
    if isinstance(value, bool) and set(_SWITCH.values()) <= set(leaf.rules.one_of or ()):
        value = _SWITCH[value]
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    raise _type_error(leaf, value, source)


def _type_error(leaf: Parameter, value: Any, source: str) -> ParameterError:
    wanted = _TYPE_WORDS.get(leaf.type, str(leaf.type))
    if typing.get_origin(leaf.type) is tuple:
        wanted = 'list, each item a ' + _TYPE_WORDS[typing.get_args(leaf.type)[0]]
    return ParameterError(
        f"{source}: '{leaf.name}' must be a {wanted}, got {type(value).__name__} {value!r}")
