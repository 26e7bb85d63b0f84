"""What goes into the model: what it may be, and shapes held to the example batch."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.errors import ObservationError
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.model.octo import OctoModule
from octo_ros.model.tokenizers import EMBEDDINGS
from octo_ros.model.tokenizers import LANGUAGE_KEY
from octo_ros.model.tokenizers import PIECES_KEY
from octo_ros.model.tokenizers import ImageTokenizer
from octo_ros.model.tokenizers import match_keys

MASKS = 'pad_mask_dict'
# Entries of a training batch that no model uses, and those that may be missing at run time.
UNUSED = frozenset({'timestep', 'task_completed'})
_BOOKKEEPING = UNUSED | {'timestep_pad_mask'}



def goal_examples(module: OctoModule, example_batch: Mapping[str, Any]) -> dict[str, Array]:
    """Returns one example (1, ...) of every goal that the model takes, by sorted key.

    These are the goals that a tokenizer reads. Others may stand in the example batch, for the
    data of a model that is told by words alone have them, too.
    """
    observations, tasks = example_batch['observation'], example_batch['task']
    known = {**{key: value[:, 0] for key, value in observations.items() if np.ndim(value) > 1},
             **tasks}
    read = {key for tokenizer in _image_tokenizers(module)
            for patterns in (tokenizer.task_stack_keys, tokenizer.task_film_keys)
            for key in match_keys(patterns, known)}
    read -= {MASKS, LANGUAGE_KEY, PIECES_KEY, *_BOOKKEEPING}
    return {key: known[key] for key in sorted(read)}


def goal_stacks(module: OctoModule, example_task: Mapping[str, Any]) -> list[set[str]]:
    """Returns the goals that each tokenizer of goals alone stacks: all of them or none are given.

    Beside an observation a missing goal is seen from that; here only the example batch tells it.
    """
    return [{*match_keys(tokenizer.task_stack_keys, example_task)}
            for tokenizer in _image_tokenizers(module) if not tokenizer.obs_stack_keys]


def goal_cameras(module: OctoModule, example_batch: Mapping[str, Any]
                 ) -> dict[str, tuple[str, ...]]:
    """Returns for every goal that is stacked which observations its tokenizers take, sorted.

    One of them must be there for the goal to have an effect. There are none where a tokenizer
    encodes the goal apart from the observations: it has an effect always.
    """
    cameras: dict[str, tuple[str, ...]] = {}
    for key in goal_examples(module, example_batch):
        readers = [tokenizer for tokenizer in _image_tokenizers(module)
                   if match_keys(tokenizer.task_stack_keys, [key])]
        if any(not tokenizer.obs_stack_keys for tokenizer in readers):
            cameras[key] = ()
        elif taken := {name for tokenizer in readers
                       for name in tokenizer.observation_keys(example_batch['observation'])}:
            cameras[key] = tuple(sorted(taken))
    return cameras


def observation_stacks(module: OctoModule, example_observation: Mapping[str, Any]
                       ) -> list[list[str]]:
    """Returns the observations that each image tokenizer stacks: they are given together."""
    return [tokenizer.observation_keys(example_observation)
            for tokenizer in _image_tokenizers(module)]


def check_stacks(module: OctoModule, example: Mapping[str, Mapping[str, Any]],
                 observations: Mapping[str, Any], tasks: Mapping[str, Any]) -> None:
    """Checks that images which one tokenizer stacks come together.

    Raises:
        ObservationError, TaskError: some are there and others are not.
    """
    seen = observation_stacks(module, example['observation'])
    for stacks, given, what, error in (
            (seen, observations, 'observations', ObservationError),
            (goal_stacks(module, example['task']), tasks, 'task', TaskError)):
        for stack in stacks:
            missing = sorted(set(stack) - given.keys())
            if missing and len(missing) < len(stack):
                raise error(
                    f'the {what} must have all of {", ".join(sorted(stack))}, which this '
                    f'checkpoint stacks, lacks {", ".join(missing)}; give zeros for it, and '
                    'False in pad_mask_dict')


def check_all(module: OctoModule, example: Mapping[str, Any], observations: Mapping[str, Any],
              tasks: Mapping[str, Any], mask: Any) -> tuple[Bool[Array, 'b t'], list[str]]:
    """Holds what is given to a model to its example batch.

    Returns:
        The mask of real steps, see `read_mask`, and messages on what is missing or unknown.

    Raises:
        ObservationError, TaskError: something cannot be used.
    """
    check_mapping('observations', observations, ObservationError)
    check_mapping('tasks', tasks, TaskError)
    for name, given, error in (('observations', observations, ObservationError),
                               ('tasks', tasks, TaskError)):
        check_mapping(f"{name}['{MASKS}']", given.get(MASKS, {}), error)
    found = read_mask(observations, mask)
    messages = check_observations(example['observation'], observations)
    messages += check_tasks(example['task'], tasks, required_tasks(module, observations))
    check_batch(tasks, found.shape[0])
    check_stacks(module, example, observations, tasks)
    return found, messages + goal_messages(module, observations, tasks)


def check_observations(example: Mapping[str, Any], observations: Mapping[str, Any]) -> list[str]:
    """Holds observations (b, t, ...) to the example batch.

    Returns:
        Messages on keys that are missing or that the model does not know.

    Raises:
        ObservationError: a shape after the first two axes differs from the example's, or an
            image is not uint8.
    """
    return _check(example, observations, 2, 'observation', ObservationError, {*example})


def required_tasks(module: OctoModule, observations: Mapping[str, Any]) -> list[str]:
    """Returns the task entries, sorted, that condition (FiLM) an image encoder which these use.

    The pieces of an instruction are counted by the model, which needs the instruction for that.
    """
    return sorted({
        LANGUAGE_KEY if key == PIECES_KEY else key
        for tokenizer in _image_tokenizers(module)
        if not tokenizer.obs_stack_keys or tokenizer.observation_keys(observations)
        for key in tokenizer.task_film_keys})


def check_tasks(
    example: Mapping[str, Any], tasks: Mapping[str, Any], required: Sequence[str] = (),
) -> list[str]:
    """Holds tasks (b, ...) to the example batch; see `check_observations`.

    Raises:
        TaskError: a shape differs, an image is not uint8, or a required entry is missing.
    """
    missing = [key for key in required if key not in tasks and not (
        key == LANGUAGE_KEY and PIECES_KEY in tasks)]
    if missing:
        raise TaskError(
            f'the task must have {", ".join(missing)}, which conditions the image encoder, got '
            f'{", ".join(sorted(tasks)) or "an empty task"}; add it with the shape that it has in '
            'the example batch')
    instruction = tasks.get(LANGUAGE_KEY, {})
    if not isinstance(instruction, Mapping) or EMBEDDINGS in instruction:
        # Embeddings may stand for token ids.
        tasks = {key: value for key, value in tasks.items() if key != LANGUAGE_KEY}
        example = {key: value for key, value in example.items() if key != LANGUAGE_KEY}
    # `goal_messages` says what takes the place of goals that are missing.
    expected = {key for key in example if key == LANGUAGE_KEY}
    return _check(example, tasks, 1, 'task', TaskError, expected)


def goal_messages(
    module: OctoModule, observations: Mapping[str, Any], tasks: Mapping[str, Any],
) -> list[str]:
    """Returns a message on the goal images that the model would use and the task does not have.

    It is said here and not by the module, whose Python code runs only when JAX compiles it.
    """
    missing = sorted({
        key for tokenizer in module.octo_transformer.observation_tokenizers.values()
        if isinstance(tokenizer, ImageTokenizer)
        for key in tokenizer.missing_goals(observations, tasks)})
    missing += sorted({key for stack in goal_stacks(module, tasks) for key in stack
                       if key not in missing and _is_padding(tasks, stack, key)})
    if not missing:
        return []
    return [f'no goal image for {", ".join(missing)}: zero pixels take its place']


def read_mask(observations: Mapping[str, Any], mask: Any) -> Bool[Array, 'b t']:
    """Returns the mask of real steps: the one given, else that of the observations.

    Raises:
        ObservationError: there is none, or it has other axes.
    """
    if mask is None and 'timestep_pad_mask' not in observations:
        raise ObservationError(
            'timestep_pad_mask must be given, alone or in the observations: True for real steps '
            '(b, t)')
    found = jnp.asarray(observations['timestep_pad_mask'] if mask is None else mask)
    if found.ndim != 2:
        raise ObservationError(
            f'timestep_pad_mask must have the shape (b, t), got {found.shape}; give one row for '
            'each item of the batch')
    return found.astype(bool)


def check_steps(mask: Bool[Array, 'b t']) -> None:
    """Raises ObservationError where an item has no real step, unless JAX traces the mask."""
    if isinstance(mask, jax.core.Tracer):
        return
    empty = np.flatnonzero(~np.asarray(mask).any(axis=1)).tolist()
    if empty:
        raise ObservationError(
            'timestep_pad_mask must be True for a step of every item, got none for '
            f"{', '.join(map(str, empty))}; mark the steps that are real")


def check_batch(tasks: Mapping[str, Any], batch: int) -> None:
    """Raises TaskError for tasks that are not as many as the items of the observations."""
    for path, leaf in flax.traverse_util.flatten_dict(tasks, sep='/').items():
        if np.shape(leaf)[:1] != (batch,):
            raise TaskError(
                f"task '{path}' must have the batch size {batch} of the observations, got the "
                f'shape {np.shape(leaf)}; give one task for each item of the batch')


def check_mapping(name: str, value: Any, error: Callable[[str], OctoError]) -> None:
    """Raises the error for an argument that is no mapping of keys to arrays."""
    if not isinstance(value, Mapping):
        raise error(f'{name} must be a dict of arrays by key, got {short(value)}; see the '
                    "model's example_batch")


def check_key(rng: Any) -> None:
    """Raises ParameterError for what is neither a random key nor None."""
    kind, shape = getattr(rng, 'dtype', None), np.shape(rng)
    typed = kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key) and shape == ()
    plain = kind == np.uint32 and len(shape) == 1
    if rng is not None and not typed and not plain:
        raise ParameterError(
            f'rng must be one random key, got {short(rng)}; make one by jax.random.key(seed)')


def _image_tokenizers(module: OctoModule) -> list[ImageTokenizer]:
    transformer = module.octo_transformer
    return [tokenizer
            for group in (transformer.observation_tokenizers, transformer.task_tokenizers)
            for tokenizer in group.values() if isinstance(tokenizer, ImageTokenizer)]


def _is_padding(tasks: Mapping[str, Any], stack: Set[str], key: str) -> bool:
    """Returns True for a goal that is masked while others of its stack are not."""
    masks = {name: tasks.get(MASKS, {}).get(name, True) for name in stack}
    if any(isinstance(mask, jax.core.Tracer) for mask in masks.values()):
        return False
    return not np.any(masks[key]) and any(np.any(mask) for mask in masks.values())


def short(value: Any) -> str:
    """Returns a value for a message: of an array only its shape."""
    shape = getattr(value, 'shape', None)
    return f'{value!r:.60}' if shape is None else f'an array {value.dtype} of shape {shape}'


def _check(example: Mapping[str, Any], given: Mapping[str, Any], leading: int, what: str,
           error: Callable[[str], OctoError], expected: Set[str]) -> list[str]:
    wanted_leaves = flax.traverse_util.flatten_dict(example, sep='/')
    given_leaves = flax.traverse_util.flatten_dict(given, sep='/')
    for path in wanted_leaves.keys() & given_leaves.keys():
        wanted = np.shape(wanted_leaves[path])[leading:]
        shape = np.shape(given_leaves[path])
        if shape[leading:] != wanted or len(shape) < leading:
            axes = ('b', 't')[:leading]
            raise error(
                f"{what} '{path}' must have the shape ({', '.join(map(str, (*axes, *wanted)))}) "
                f'as in the example batch of the checkpoint, got {shape}; '
                'resize it, or add the missing axes')
        check_pixels(f"{what} '{path}'", given_leaves[path], wanted_leaves[path], error)
    ignored = {MASKS, *_BOOKKEEPING}
    missing = sorted(expected - given.keys() - ignored)
    unknown = sorted(given.keys() - example.keys() - ignored)
    messages = []
    if missing:
        messages.append(f'the {what} has no {", ".join(missing)}: the policy works without')
    if unknown:
        messages.append(
            f'the {what} has {", ".join(unknown)}, which the checkpoint was not trained with')
    return messages



def check_pixels(
    what: str, given: Any, example: Any, error: Callable[[str], OctoError],
) -> None:
    """Raises the error for other numbers where the model takes pixels, which it scales itself."""
    found = getattr(given, 'dtype', None) or np.asarray(given).dtype
    if example.dtype == np.uint8 and found != np.uint8:
        raise error(f'{what} must be uint8, 0 to 255, got {found}; give the pixels as the camera '
                    'has them: the model scales them itself')
