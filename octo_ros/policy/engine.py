"""The compiled policy: fixed inputs, one program, a fresh random key for every inference.

Everything that may change while the robot works is data, not shape: a missing goal is zero pixels,
a missing instruction the masked empty text, a camera without a picture is masked. So a new task
never compiles anything. The language model runs once for an instruction, and its embeddings are
kept on the device.
"""

import dataclasses
import functools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.model.tokenizers import LANGUAGE_KEY
from octo_ros.model.tokenizers import PIECES_KEY
from octo_ros.policy.compiling import FLOAT32
from octo_ros.policy.compiling import compiled
from octo_ros.policy.normalization import action_size
from octo_ros.policy.normalization import check_head
from octo_ros.policy.normalization import unnormalize_actions
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.spec import takes_text
from octo_ros.policy.spec import vector_inputs

_MASKS = 'pad_mask_dict'


@dataclasses.dataclass(frozen=True)
class Variant:
    """The inputs that a program is compiled for.

    Attributes:
        image_keys: observation keys with a camera.
        window: history steps.
        proprio: True when a proprio vector is given.
    """

    image_keys: tuple[str, ...]
    window: int
    proprio: bool


class Engine:
    """Runs a model on single windows of observations."""

    def __init__(
        self,
        model: OctoModel,
        statistics: Mapping[str, Any],
        *,
        image_sizes: Mapping[str, tuple[int, int]],
        goal_sizes: Mapping[str, tuple[int, int]],
        normalization_type: str = 'normal',
        head: str = 'action',
        seed: int = 0,
        matmul_precision: str = FLOAT32,
    ) -> None:
        """Makes an engine that has compiled nothing yet.

        Args:
            model: the model; its parameters stay where they are.
            statistics: the `action` entry of the dataset's statistics.
            image_sizes: height and width by observation key [pixel].
            goal_sizes: the same for goal images.
            normalization_type: 'normal' or 'bounds'.
            head: name of the action head.
            seed: of the stream of random keys.
            matmul_precision: of products of matrices, see `compiling`.

        Raises:
            ParameterError: the statistics do not fit.
        """
        self.model = model
        self.compilations = 0
        self._statistics = statistics
        self._kind = normalization_type
        self._image_sizes = dict(image_sizes)
        self.goal_sizes = dict(goal_sizes)
        self._head = head
        self._precision = matmul_precision
        self._dims = action_size(statistics, normalization_type)
        check_head(self._dims, model.module.heads[head].action_dim)
        self._programs: dict[Variant, Any] = {}
        self._language_program: Any = None
        self.no_language = self._no_language()
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Restarts the stream of random keys."""
        self._key = jax.random.key(seed)
        self._count = 0

    def compile(self, variant: Variant) -> None:
        """Compiles and runs the program for a variant, unless that was done.

        Raises:
            ParameterError: the model cannot work with images of these sizes.
            OctoError: what the model itself refuses, other than images.
        """
        if variant in self._programs:
            return
        observations = self.observations(
            [{} for _ in range(variant.window)], variant,
            self._zero_vectors(variant.window) if variant.proprio else None)
        inputs = (
            self.model.params, observations, self.task({}, None),
            np.ones((1, variant.window), bool), self._key, np.int32(0))
        try:
            program = compiled(self._sample, self._precision).lower(*inputs).compile()
        except (TypeError, ValueError, flax.errors.FlaxError) as error:
            # Of the errors that say by themselves what is wrong, only these are of image sizes.
            if isinstance(error, OctoError) and not isinstance(error, ObservationError):
                raise
            sizes = ', '.join(
                f'{key} {self._image_sizes[key]}' for key in variant.image_keys) or 'no image'
            raise ParameterError(
                f'The model cannot take {sizes}: {error}; leave image_sizes as the checkpoint has '
                'them') from error
        self.compilations += 1
        jax.block_until_ready(program(*inputs))
        self._programs[variant] = program

    def compile_language(self, example: Mapping[str, Int[np.ndarray, '1 n']]) -> None:
        """Compiles the language model for token ids like the example's."""
        if self._language_program is None:
            encode = functools.partial(self.model.module.apply, method='encode_language')
            self._language_program = compiled(encode, self._precision).lower(
                {'params': self.model.params}, {LANGUAGE_KEY: _int32(example)}).compile()
            self.compilations += 1

    def encode_language(
        self, tokens: Mapping[str, Int[np.ndarray, '1 n']]
    ) -> Any:
        """Returns one instruction as the language model leaves it, on the device.

        That is what `task` takes, see `OctoTransformer.encode_language`.
        """
        self.compile_language(tokens)
        task = {LANGUAGE_KEY: _int32(tokens)}
        return self._language_program({'params': self.model.params}, task)

    def observations(
        self,
        frames: Sequence[Mapping[str, UInt8[np.ndarray, 'ih iw 3']]],
        variant: Variant,
        proprio: Mapping[str, Float[np.ndarray, 't p']] | None,
    ) -> dict[str, Any]:
        """Builds the model's observations of one window.

        Args:
            frames: the images of every step, oldest first; an absent image is masked.
            variant: what the program was compiled for.
            proprio: observation key to normalised vectors, if the variant has them.

        Raises:
            ObservationError: an image has the wrong size.
        """
        observations: dict[str, Any] = {}
        masks: dict[str, Bool[np.ndarray, '1 t']] = {}
        for key in variant.image_keys:
            stack = np.zeros((1, variant.window, *self._image_sizes[key], 3), np.uint8)
            masks[key] = np.zeros((1, variant.window), bool)
            for step, frame in enumerate(frames):
                if key in frame:
                    _put(stack[0, step], frame[key], key)
                    masks[key][0, step] = True
            observations[key] = stack
        for key, vectors in (proprio or {}).items():
            observations[key] = vectors[None].astype(np.float32)
            masks[key] = np.ones((1, variant.window), bool)
        return {**observations, _MASKS: masks}

    def task(
        self, goals: Mapping[str, UInt8[np.ndarray, 'ih iw 3']], language: Any
    ) -> dict[str, Any]:
        """Builds the model's task of resized goal images and embeddings, on the device.

        Args:
            goals: by key; zero pixels stand for the others.
            language: what `encode_language` returns, or None when there is no instruction.

        Raises:
            ObservationError: a goal has the wrong size.
        """
        task: dict[str, Any] = {}
        for key, size in self.goal_sizes.items():
            task[key] = np.zeros((1, *size, 3), np.uint8)
            if key in goals:
                _put(task[key][0], goals[key], f'goal {key}')
        masks = {key: np.full(1, key in goals) for key in task}
        for key, value in self.no_language.items():
            task[key] = value if language is None or key != LANGUAGE_KEY else language
            masks[key] = np.full(1, language is not None and key == LANGUAGE_KEY)
        return jax.device_put({**task, _MASKS: masks})

    def infer(
        self,
        variant: Variant,
        observations: Mapping[str, Any],
        task: Mapping[str, Any],
        timestep_pad_mask: Bool[np.ndarray, 't'],
    ) -> Float[np.ndarray, 'ah ad']:
        """Returns one un-normalised chunk, drawn with the next random key.

        Args:
            variant: one that was compiled.
            observations: made by `observations`.
            task: made by `task`.
            timestep_pad_mask: True = real step.

        Raises:
            ParameterError: the variant was not compiled.
        """
        if variant not in self._programs:
            raise ParameterError(
                f'The policy must be prepared before it is used, got nothing for {variant}')
        actions = self._programs[variant](
            self.model.params, observations, task, np.asarray(timestep_pad_mask)[None],
            self._key, np.int32(self._count))
        self._count += 1
        return np.asarray(actions)

    def _sample(
        self,
        params: Mapping[str, Any],
        observations: Mapping[str, Any],
        task: Mapping[str, Any],
        timestep_pad_mask: Bool[Array, '1 t'],
        key: PRNGKeyArray,
        count: Int[Array, ''],
    ) -> Float[Array, 'ah ad']:
        actions = self.model.module.apply(
            {'params': params}, observations, task, timestep_pad_mask, head=self._head,
            rng=jax.random.fold_in(key, count), embodiment_action_dim=self._dims,
            method='sample_actions')
        return unnormalize_actions(jnp.asarray(actions), self._statistics, self._kind)[0]

    def _no_language(self) -> dict[str, Any]:
        """Returns what stands for task entries that are not goal images when they are missing."""
        entries: dict[str, Any] = {}
        for key, value in self.model.example_batch['task'].items():
            if key in self.goal_sizes or key in (_MASKS, PIECES_KEY, 'timestep'):
                continue
            if not isinstance(value, Mapping):
                entries[key] = np.zeros((1, *np.shape(value)[1:]), np.asarray(value).dtype)
            elif self.model.text_processor is not None and takes_text(self.model):
                entries[key] = self.encode_language(self.model.text_processor.encode(['']))
        return entries

    def _zero_vectors(self, window: int) -> dict[str, np.ndarray]:
        example = self.model.example_batch['observation']
        return {key: np.zeros((window, *np.shape(example[key])[2:]))
                for key in vector_inputs(self.model)}


def _put(target: UInt8[np.ndarray, 'ih iw 3'], image: UInt8[np.ndarray, 'ih iw 3'],
         name: str) -> None:
    if image.shape != target.shape:
        raise ObservationError(
            f'{name} must have the shape {target.shape}, got {image.shape}; resize it with the '
            "policy's preprocess")
    target[...] = image


def _int32(tokens: Mapping[str, Int[np.ndarray, '1 n']]) -> dict[str, Int[Array, '1 n']]:
    return {name: jnp.asarray(ids, jnp.int32) for name, ids in tokens.items()}
