"""A batch of tasks, built from goal images and texts as training saw them."""

from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from typing import Any

import numpy as np

from octo_ros.array_typing import Array
from octo_ros.errors import TaskError
from octo_ros.errors import closest
from octo_ros.model.tokenizers import LANGUAGE_KEY
from octo_ros.model.tokenizers import PIECES_KEY
from octo_ros.policy import model_inputs
from octo_ros.policy.text import TextProcessor
from octo_ros.policy.text import check_instruction


def create_tasks(
    example: Mapping[str, Any], text_processor: TextProcessor | None, *,
    goals: Mapping[str, Array] | None, texts: Sequence[str] | None,
    known_goals: Mapping[str, Array], stacks: Sequence[Set[str]] = (),
) -> dict[str, Any]:
    """Builds a batch of tasks as training saw them, see `OctoModel.create_tasks`.

    Args:
        example: the task entry of the example batch.
        text_processor: turns texts into ids; None when the model has no language.
        goals: goal images (b, ih, iw, c), by key.
        texts: one instruction per item of the batch.
        known_goals: what goals may be, as `goal_examples` returns it.
        stacks: goals that go together, as `goal_stacks` returns them.
    """
    if goals is not None:
        model_inputs.check_mapping('goals', goals, TaskError)
        _check_goals(goals, known_goals)
    batch = _batch_size(goals, texts)
    task: dict[str, Any] = {}
    if goals is not None:
        task.update(goals)
        padded = {key for stack in stacks if stack & goals.keys() for key in stack - goals.keys()}
    else:
        padded = example.keys() - {model_inputs.MASKS, LANGUAGE_KEY, PIECES_KEY}
    task.update({
        key: np.zeros((batch, *np.shape(example[key])[1:]), np.asarray(example[key]).dtype)
        for key in sorted(padded)})
    masks = {key: np.full(batch, key not in padded) for key in task}
    if texts is not None:
        if text_processor is None:
            raise TaskError(
                'a text cannot be used: this checkpoint has no text processor; give goal images '
                f'for {", ".join(known_goals) or "a checkpoint that takes them"} instead')
        for text in texts:
            check_instruction(text)
    if text_processor is not None:
        task[LANGUAGE_KEY] = text_processor.encode(texts if texts is not None else batch * [''])
    masks[LANGUAGE_KEY] = np.full(batch, texts is not None)
    return {**task, model_inputs.MASKS: masks}


def _batch_size(goals: Mapping[str, Array] | None, texts: Sequence[str] | None) -> int:
    if isinstance(texts, str):
        raise TaskError(f"texts must be a list with one text per item, got '{texts[:60]}'; "
                        'put it into brackets')
    if texts is not None and not isinstance(texts, Sequence):
        raise TaskError(
            'texts must be a list with one text per item, got '
            f'{model_inputs.short(texts)}; make it a list')
    if not goals and not texts:
        raise TaskError('a task must have goals, texts or both, got neither')
    sizes = {len(value) for value in (goals or {}).values()}
    sizes |= set() if texts is None else {len(texts)}
    if len(sizes) > 1:
        raise TaskError(
            f'goals and texts must have one batch size, got {", ".join(map(str, sorted(sizes)))}')
    if 0 in sizes:
        raise TaskError('a task must be for at least one item, got a batch of 0; give goals '
                        '(b, ih, iw, c) with b > 0')
    return sizes.pop()


def _check_goals(goals: Mapping[str, Array], known: Mapping[str, Array]) -> None:
    for key, goal in goals.items():
        if key not in known:
            raise TaskError(
                f"the goal '{key}' must be one of {', '.join(known) or 'none (no goals are used)'}"
                f'{closest(key, known)}')
        wanted, shape = np.shape(known[key])[1:], np.shape(goal)
        if len(shape) != len(wanted) + 1 or shape[1:] != wanted:
            fix = ('add the batch axis: goal[None]' if len(shape) == len(wanted)
                   else 'resize it as octo_ros.policy.images.preprocess does')
            raise TaskError(
                f"the goal '{key}' must have the shape (b, {', '.join(map(str, wanted))}), got "
                f'{shape}; {fix}')
        model_inputs.check_pixels(f"the goal '{key}'", goal, known[key], TaskError)
