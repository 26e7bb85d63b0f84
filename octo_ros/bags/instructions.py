"""What a recording says in words: which of its instructions an episode is given, and facts."""

import json
from collections import Counter
from typing import Any

import numpy as np

from octo_ros.array_typing import Int
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.data.frames import Trouble


def read_instruction(stream: RecordedStream, times: Int[np.ndarray, 't']
                     ) -> tuple[str, list[Trouble]]:
    """Returns the instruction of most steps, and the steps at which it was not in force.

    The first one reaches back to the first step, since people often begin to record before they
    say what to do. A blank text takes the instruction away.

    Args:
        stream: the topic, sorted.
        times: the steps, by the clock of the recorder [ns].

    Returns:
        An empty text if there is none for any step.
    """
    texts = [str(message.data).strip() for message in stream.messages]
    first = next((number for number, text in enumerate(texts) if text), None)
    if first is None:
        return '', []
    newest = np.searchsorted(stream.stamps, times, side='right') - 1
    in_force = [texts[number] for number in np.maximum(newest, first)]
    [(taken, _)] = Counter(text for text in in_force if text).most_common(1) or [('', 0)]
    if not taken:
        return '', []
    return str(stream.messages[texts.index(taken)].data), [
        Trouble(row, 'instruction',
                f"'{text}' is in force, the episode is given '{taken}'" if text else
                'the instruction was taken away')
        for row, text in enumerate(in_force) if text != taken]


def read_facts(stream: RecordedStream) -> dict[str, Any]:
    """Returns what the first JSON object of a topic of texts holds."""
    for message in stream.messages:
        try:
            found = json.loads(message.data)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}
