"""Tasks checked quickly and encoded once: text through the language model, goals to the device."""

import collections
import hashlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.errors import TaskError
from octo_ros.errors import closest
from octo_ros.policy import images
from octo_ros.policy.engine import Engine
from octo_ros.policy.text import TextProcessor
from octo_ros.policy.text import check_instruction
from octo_ros.policy.types import PolicySpec
from octo_ros.policy.types import Task

_REMEMBERED = 8
_ANY_WORD = 'go'
_Image = UInt8[np.ndarray, 'ih iw 3']


class TaskEncoder:
    """Turns tasks into what the engine takes; the last few are remembered by their content.

    One thread encodes; `check` may be called from others meanwhile.
    """

    def __init__(
        self, spec: PolicySpec, engine: Engine, text_processor: TextProcessor | None,
    ) -> None:
        """Makes an encoder.

        Args:
            spec: what the policy wants.
            engine: runs the language model.
            text_processor: turns texts into token ids; None when the policy takes no text.
        """
        self._spec = spec
        self._engine = engine
        self._text_processor = text_processor if spec.uses_language else None
        self._tokens: tuple[str, Mapping[str, Any]] | None = None
        self._no_vocabulary: str | None = None
        self._encoded: collections.OrderedDict[Any, Mapping[str, Any]] = collections.OrderedDict()
        self._newest: tuple[Task, Mapping[str, Any]] | None = None

    def find_vocabulary(self) -> str:
        """Reads the vocabulary; returns why there is none, or ''.

        Looking for it may ask the network. That is done once, so that checking a task is quick
        from then on, whatever the answer.
        """
        if self._text_processor is not None and self._no_vocabulary is None:
            try:
                self._text_processor.encode([_ANY_WORD])
                self._no_vocabulary = ''
            except TaskError as error:
                self._no_vocabulary = str(error)
        return self._no_vocabulary or ''

    def check(self, task: Task, mapped: Sequence[str]) -> list[str]:
        """Checks a task without running anything.

        Args:
            task: the task.
            mapped: observation keys that have a camera.

        Returns:
            Messages on what the policy will see as missing.

        Raises:
            TaskError: the task cannot be used.
        """
        if task.text is not None:
            self._ids(task.text)
        for key, image in task.goals.items():
            self._check_goal(key, image)
        return self._notes(task, mapped)

    def check_key(self, key: str) -> None:
        """Raises TaskError where the policy takes no goal of that key."""
        known = self._spec.goal_keys
        if key not in known:
            raise TaskError(
                f"A goal image must be for one of {', '.join(known) or 'no key'} with this "
                f"checkpoint, got '{key}'{closest(key, known)}")

    def encode(self, task: Task) -> Mapping[str, Any]:
        """Returns the model's task, on the device.

        Raises:
            TaskError: the task cannot be used.
        """
        if self._newest is not None and self._newest[0] is task:
            return self._newest[1]
        content = _content(task)
        if content in self._encoded:
            self._encoded.move_to_end(content)
        else:
            self._encoded[content] = self._encode(task)
            if len(self._encoded) > _REMEMBERED:
                self._encoded.popitem(last=False)
        self._newest = (task, self._encoded[content])
        return self._encoded[content]

    def _encode(self, task: Task) -> Mapping[str, Any]:
        self.check(task, ())
        language = None
        if task.text is not None:
            language = self._engine.encode_language(self._ids(task.text))
        return self._engine.task(task.goals, language)

    def _ids(self, text: str) -> Mapping[str, Any]:
        check_instruction(text)
        if self._text_processor is None:
            raise TaskError(
                'This checkpoint takes no instruction, it has no language input; give a goal '
                f'image for {", ".join(self._spec.goal_keys) or "a checkpoint that takes one"}')
        problem = self.find_vocabulary()
        if problem:
            raise TaskError(problem)
        tokens = self._tokens
        if tokens is None or tokens[0] != text:
            # Remembered so that checking and encoding one text warns of its length only once.
            tokens = self._tokens = (text, self._text_processor.encode([text]))
        return tokens[1]

    def _check_goal(self, key: str, image: _Image) -> None:
        self.check_key(key)
        try:
            images.check_image(image)
        except ObservationError as error:
            raise TaskError(f"The goal for '{key}' cannot be used: {error}") from error
        size = self._engine.goal_sizes[key]
        if image.shape[:2] != size:
            raise TaskError(f"The goal for '{key}' must be of the policy's size {size}, got "
                            f"{image.shape[:2]}; resize it with the policy's preprocess")

    def _notes(self, task: Task, mapped: Sequence[str]) -> list[str]:
        seen = self._spec.goals_in_effect(mapped)
        missing = [key for key in seen if key not in task.goals]
        notes = [
            f'The goal for {key} has no effect: no camera is mapped to '
            f'{", ".join(self._spec.goal_cameras.get(key, (key,)))}.'
            for key in task.goals if key not in seen]
        if missing:
            notes.append(f'No goal image for {", ".join(missing)}: zero pixels take its place.')
        if task.text is None and self._spec.uses_language:
            notes.append('No instruction: the language input is masked.')
        return notes


def _content(task: Task) -> tuple[Any, ...]:
    goals = sorted(
        (key, goal.shape, hashlib.blake2b(np.ascontiguousarray(goal).data).digest())
        for key, goal in task.goals.items())
    return (task.text, *goals)
