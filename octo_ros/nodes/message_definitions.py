"""Definitions of installed message types, which a recording holds beside its messages.

They are made of the classes that rclpy works with, so they are those of the messages that come,
and none is missing where a topic can be subscribed to. Constants and comments are left out.
"""

import re

from octo_ros.nodes.publishers import message_class

_NAMES = {'boolean': 'bool', 'octet': 'byte', 'float': 'float32', 'double': 'float64'}
_EMPTY = 'uint8 structure_needs_at_least_one_member'  # what DDS sends of a type without fields
_SEQUENCE = re.compile(r'sequence<(.+?)(?:, (\d+))?>')
_ARRAY = re.compile(r'(.+)\[(\d+)\]')


def definitions_of(kind: str) -> dict[str, str]:
    """Returns the text of a message type and of all that it is made of, by name.

    Raises:
        ImportError, AttributeError: the type, or one that it is made of, is not installed.
    """
    found: dict[str, str] = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        fields = message_class(name).get_fields_and_field_types()  # type: ignore[attr-defined]
        found[name] = '\n'.join(
            f'{_field_type(text)} {field}' for field, text in fields.items()) or _EMPTY
        parts = {match[1] + '/msg/' + match[2] for text in fields.values()
                 for match in re.finditer(r'(\w+)/(\w+)', text)}
        waiting += sorted(parts - found.keys())
    return found


def _field_type(text: str) -> str:
    """Returns a type such as `sequence<double, 5>` as message files write it, `float64[<=5]`."""
    if match := _SEQUENCE.fullmatch(text):
        return f"{_plain(match[1])}[{'<=' + match[2] if match[2] else ''}]"
    if match := _ARRAY.fullmatch(text):
        return f'{_plain(match[1])}[{match[2]}]'
    return _plain(text)


def _plain(text: str) -> str:
    return _NAMES.get(text, re.sub(r'<(\d+)>', r'<=\1', text))
