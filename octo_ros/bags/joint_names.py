"""The order of a topic's numbers, by the names that its messages give them.

Drivers restart with their joints in another order, and two of them may share a topic. So the names
of the first message that has any are the layout of its topic; later messages are put in order by
name, and one that lacks a name is no message of that layout. Only where no message has names the
place of a number says what it is.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.episodes import decode_action
from octo_ros.bags.reader import BagReader
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.data.frames import Run
from octo_ros.errors import BagError
from octo_ros.policy.proprio import PROPRIO

Names = tuple[str, ...]
_LOOKED_AT = 100  # messages without names, after which a recording counts as without


@dataclasses.dataclass(frozen=True)
class JointNames:
    """What the numbers of all recordings of a set are called, in the order wanted.

    Attributes:
        state: of the proprio; as each recording has them when empty.
        action: likewise.
        chosen: the state's were asked for, so that a recording may have further joints.
    """

    state: Names = ()
    action: Names = ()
    chosen: bool = False


AS_RECORDED = JointNames()


def given_names(message: Any) -> Names:
    """Returns the names of a message's numbers; none unless each has one of its own."""
    if hasattr(message, 'points'):
        names = message.joint_names
        count = len(message.points[0].positions) if message.points else 0
    else:
        names, count = getattr(message, 'name', ()), len(getattr(message, 'position', ()))
    found = tuple(map(str, names))
    return found if len(set(found)) == len(found) == count else ()


def state_layout(messages: Iterable[Any]) -> Names:
    """Returns the names of the first message that has any; none if there is no such message."""
    return next(filter(None, map(given_names, messages)), ())


def action_layout(messages: Iterable[Any], names: Names) -> Names:
    """Returns the profile's names where the messages use them, else theirs, if they are as many.

    Args:
        messages: of the action's topic.
        names: the profile's.
    """
    for given in filter(None, map(given_names, messages)):
        if set(names) <= set(given):
            return names
        if len(given) == len(names):
            return given
    return ()


def find_names(bag: BagReader, topics: TopicMap, action_names: Names) -> JointNames:
    """Returns what a recording calls its numbers, judged by its first messages."""
    def first(topic: str | None) -> Iterable[Any]:
        kind = bag.topics.get(topic or '', '')
        if topic is None or not kind.endswith(('/JointState', '/JointTrajectory')):
            return ()
        return (found.message for found in itertools.islice(bag.messages([topic]), _LOOKED_AT))

    return JointNames(state_layout(first(topics.streams.get(PROPRIO))),
                      action_layout(first(topics.action), action_names))


class ActionReader:
    """Reads the actions of one topic in one order."""

    def __init__(self, names: Sequence[str], layout: Names = ()) -> None:
        """Takes the profile's names, and how the topic names its numbers, if that is known."""
        self._names = tuple(names)
        self._layout = layout

    def __call__(self, message: Any) -> Float[np.ndarray, 'ad']:
        """Returns the action of a message.

        Raises:
            BagError: it lacks a name of the layout, or has another number of values.
        """
        self._layout = self._layout or action_layout([message], self._names)
        if self._layout:
            given = given_names(message)
            lacking = [name for name in self._layout if name not in given]
            if lacking and (given or len(self._names) == _size(message)):
                raise BagError(
                    f"recorded action must name {', '.join(lacking)} as the first message with "
                    f"names does, got {', '.join(given) or 'no names'}")
        return decode_action(message, self._layout or self._names)


def action_reader(stream: RecordedStream, names: Sequence[str], joints: JointNames
                  ) -> tuple[ActionReader, list[Run]]:
    """Returns how to read a recording's actions, and what is odd about their names.

    Raises:
        BagError: they have other names than those of the set.
    """
    profile = tuple(names)
    own = action_layout(stream.messages, profile)
    if own:
        _require_same('action', stream.topic, own, joints.action)
        return ActionReader(profile, joints.action or own), []
    # Arrays without names are in the order of the profile, which they were made for.
    odd = stream.messages and joints.action not in ((), profile)
    return ActionReader(profile), _unnamed('action', joints.action) if odd else []


def with_joints(stream: RecordedStream, joints: JointNames
                ) -> tuple[RecordedStream, Names, list[Run]]:
    """Returns the messages of a state that have the wanted joints, these, and the others' faults.

    Raises:
        BagError: not one has the joints that were asked for, or those of the set.
    """
    own = state_layout(stream.messages)
    if not stream.messages or not (own or joints.chosen):
        odd = stream.messages and joints.state
        return stream, (), _unnamed('state', joints.state) if odd else []
    if not joints.chosen:
        _require_same('state', stream.topic, own, joints.state)
    wanted = joints.state or own
    good = np.ones(len(stream.messages), bool)
    faults: dict[Names, Run] = {}
    for row, message in enumerate(stream.messages):
        given = tuple(message.name)
        lacking = [name for name in wanted if name not in given]
        if not lacking:
            continue
        good[row] = False
        if joints.chosen and given and not set(given) & set(wanted):
            continue  # of another driver on the topic, which is why they were chosen
        first = faults.get(given)
        faults[given] = first._replace(steps=first.steps + 1) if first else Run(
            row, 'state', f"must name the joints {', '.join(lacking)}, got "
            f"{', '.join(given) or 'no names'}", 1)
    if not good.any():
        found = ', '.join(own) or 'no names'
        said = next((run.text for run in faults.values()),
                    f"must name the joints {', '.join(wanted)}, got {found}")
        raise BagError(f"state on '{stream.topic}' {said}; choose joints with --state-names")
    hint = '' if joints.chosen else '; --state-names chooses joints'
    return stream.only(good), wanted, [
        run._replace(text=f'{run.text}: left out, for {run.steps} '
                     f'message{"s" if run.steps > 1 else ""}{hint}')
        for run in faults.values()]


def _require_same(what: str, topic: str, own: Names, wanted: Names) -> None:
    if wanted and set(own) != set(wanted):
        hint = '; choose joints that all have with --state-names' if what == 'state' else ''
        raise BagError(f"{what} on '{topic}' must have the names {', '.join(wanted)} as in the "
                       f"first of the recordings, got {', '.join(own)}{hint}")


def _unnamed(what: str, wanted: Names) -> list[Run]:
    return [Run(None, what, 'no message has names: the numbers are taken for '
                f"{', '.join(wanted)}, as the first of the recordings calls them", 1)]


def _size(message: Any) -> int:
    if hasattr(message, 'points'):
        return len(message.points[0].positions) if message.points else 0
    return len(getattr(message, 'position', ()))
