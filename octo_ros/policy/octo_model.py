"""`OctoModel`: a checkpoint as a Python object, with the interface that Octo's users know."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.checkpoint import released
from octo_ros.checkpoint.merge import merge_params
from octo_ros.checkpoint.save import save_checkpoint
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.errors import CheckpointError
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.model.octo import OctoModule
from octo_ros.model.tokens import TokenGroup
from octo_ros.policy import head_options
from octo_ros.policy import model_inputs
from octo_ros.policy import model_summary
from octo_ros.policy.compiling import with_precision
from octo_ros.policy.device import backend
from octo_ros.policy.normalization import unnormalize_actions
from octo_ros.policy.task_batch import create_tasks
from octo_ros.policy.text import TextProcessor

Data = Mapping[str, Any]

_STATIC = ('head', 'train', 'sample_shape', 'embodiment_action_dim', 'argmax')

_log = logging.getLogger('octo_ros.policy')


class OctoModel:
    """A model with its parameters and everything that a checkpoint says about them.

    Arrays go in with a batch axis, and observations with a time axis behind it: (b, t, ...).
    Every method compiles once for each set of keys and shapes.

    Attributes:
        module: the Flax module.
        params: parameter tree in device memory.
        config: the training config.
        example_batch: one batch of size 1; its shapes are the model's inputs.
        dataset_statistics: statistics by dataset, or those of the only one.
        text_processor: turns texts into token ids; None for a model without language.
        step: training step of the parameters.
    """

    def __init__(
        self, module: OctoModule, params: Mapping[str, Any], config: Mapping[str, Any],
        example_batch: Mapping[str, Any], *, dataset_statistics: Mapping[str, Any] | None = None,
        text_processor: TextProcessor | None = None, step: int = 0,
    ) -> None:
        """Puts the parts together; `load_pretrained` and `from_config` make them."""
        self.module = module
        self.params = params
        self.config = config
        self.example_batch = example_batch
        self.dataset_statistics = dataset_statistics or {}
        self.text_processor = text_processor
        self.step = step
        self._said: set[str] = set()
        # One set of compiled functions per model: JAX would share those of equal modules, and
        # modules compare equal when only the order of their tokenizers differs.
        self._transformer = self._compile('run_transformer')
        self._sample = self._compile('sample_actions')
        self._loss = self._compile('loss')

    @classmethod
    def load_pretrained(
        cls, path_or_hf: str | Path, step: int | None = None, *, revision: str | None = None,
        vocabulary: str | Path | None = None,
    ) -> 'OctoModel':
        """Loads a checkpoint.

        Args:
            path_or_hf: a folder, `hf://owner/name[@revision]`, or `shipped`.
            step: the step to load; None takes the latest.
            revision: branch, tag or commit on the hub.
            vocabulary: sentencepiece file to use instead of the one that would be looked up.

        Raises:
            CheckpointError: a file is missing, damaged or does not fit the others.
            ParameterError: the path is none, or the step is not a whole number.
        """
        backend()
        found = released.load(path_or_hf, step, revision=revision)
        with _making(f'{found.path}: its config and example batch'):
            module = build_module(found.config['model'], params_shapes=found.params)
            wanted = jax.eval_shape(
                functools.partial(_init, module), jax.random.key(0), found.example_batch)
        params, report = merge_params(wanted, found.params)
        if not report.exact:
            raise CheckpointError(
                f'{found.parameter_file}: its parameters must be those of the model in '
                f'{found.path / "config.json"} (- wanted, + found):\n{report.text()}\n'
                'take config.json, example_batch.msgpack and the step from the same training run')
        processor = TextProcessor.of_checkpoint(
            found.config, params, found.path, vocabulary=vocabulary)
        return cls(
            module, params, found.config, found.example_batch, text_processor=processor,
            dataset_statistics=found.dataset_statistics, step=found.step)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], example_batch: Mapping[str, Any],
        text_processor: TextProcessor | None = None, rng: PRNGKeyArray | None = None,
        dataset_statistics: Mapping[str, Any] | None = None, *,
        params_shapes: Mapping[str, Any] | None = None,
    ) -> 'OctoModel':
        """Makes a model with random weights.

        Args:
            config: a training config; its `model` entry counts.
            example_batch: one batch of size 1, of the shapes that the model shall take.
            text_processor: for the model's language, if it has one.
            rng: key to draw the weights with; `jax.random.key(0)` when left out.
            dataset_statistics: statistics by dataset.
            params_shapes: the part of a parameter tree (leaves with a `shape`) that holds the
                language model, when the config gives it a name of its own.

        Raises:
            CheckpointError: the config makes no model.
        """
        backend()
        key = jax.random.key(0) if rng is None else rng
        with _making('the config and example batch'):
            module = build_module(config['model'], params_shapes=params_shapes)
            # Compiled, because the weights alone are wanted and XLA then drops the forward pass.
            program = jax.jit(functools.partial(_init, module)).lower(key, example_batch)
        params = program.compile()(key, example_batch)
        return cls(module, params, config, example_batch, text_processor=text_processor,
                   dataset_statistics=dataset_statistics)

    @property
    def goal_keys(self) -> tuple[str, ...]:
        """Keys that goals may have: those the model was trained with or stacks on its images."""
        return tuple(model_inputs.goal_examples(self.module, self.example_batch))

    def create_tasks(
        self, goals: Mapping[str, Array] | None = None, texts: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Builds tasks from goal images, texts or both.

        What is not given is padded: goals by zeros, language by the empty text, both with False
        in `pad_mask_dict`. Where some goals are given, others stay absent, but for stacked ones.

        Args:
            goals: uint8 images (b, ih, iw, c), by observation key.
            texts: one instruction per item of the batch.

        Raises:
            TaskError: a key is unknown, a goal is not uint8 or of another size than the model's,
                texts are no list, one is blank, batch sizes differ or are 0, nothing is given.
        """
        return create_tasks(
            self.example_batch['task'], self.text_processor, goals=goals, texts=texts,
            known_goals=model_inputs.goal_examples(self.module, self.example_batch),
            stacks=model_inputs.goal_stacks(self.module, self.example_batch['task']))

    def run_transformer(
        self, observations: Data, tasks: Data,
        timestep_pad_mask: Bool[Array, 'b t'] | None = None, *, train: bool = False,
        rng: PRNGKeyArray | None = None,
    ) -> dict[str, TokenGroup]:
        """Returns the transformer's embeddings by group of tokens.

        Args:
            observations: arrays (b, t, ...), t from 1 to `max_horizon`.
            tasks: as `create_tasks` makes them.
            timestep_pad_mask: True = real step; None takes the one in the observations.
            train: True to use dropout.
            rng: key for dropout.

        Raises:
            ObservationError, TaskError: a shape differs from the example batch, or an image is
                not uint8.
        """
        mask = self._check(observations, tasks, timestep_pad_mask, rng)
        with head_options.needing_key():
            return self._transformer(
                {'params': self.params}, observations, tasks, mask, train=train, rngs=_rngs(rng))

    def sample_actions(
        self, observations: Data, tasks: Data, *,
        unnormalization_statistics: Mapping[str, Any] | None = None,
        normalization_type: str = 'normal',
        timestep_pad_mask: Bool[Array, 'b t'] | None = None,
        sample_shape: tuple[int, ...] = (), rng: PRNGKeyArray | None = None,
        noise: Any = None, argmax: bool | None = None, temperature: float | None = None,
        head: str = 'action', train: bool = False,
    ) -> Float[Array, '*s b ah ad']:
        """Returns action chunks for the last step of the window.

        Args:
            observations: arrays (b, t, ...), t from 1 to `max_horizon`.
            tasks: as `create_tasks` makes them.
            unnormalization_statistics: the `action` entry of a dataset's statistics; None returns
                normalised actions.
            normalization_type: 'normal' or 'bounds', as the checkpoint was trained.
            timestep_pad_mask: True = real step; None takes the one in the observations.
            sample_shape: leading axes of the result, one sample each.
            rng: random key; give a new one for every call.
            noise: instead of a key for a diffusion head, its initial noise (*s, b, t, ah*ad)
                and the noise of every step, (steps, *s, b, t, ah*ad).
            argmax: True for the most likely bins of a discrete head.
            temperature: of a discrete head.
            head: name of the action head.
            train: True to use dropout.

        Raises:
            ParameterError: statistics, options or noise do not fit the head.
            ObservationError, TaskError: a shape differs from the example batch, an image is not
                uint8, or an item has no real step.
        """
        mask = self._check(observations, tasks, timestep_pad_mask, rng)
        model_inputs.check_steps(mask)
        found = head_options.find_head(self.module, head)
        sample_shape = head_options.check_sample_shape(sample_shape)
        options = head_options.check_options(found, argmax=argmax, temperature=temperature)
        head_options.check_noise(found, noise, sample_shape, mask.shape)
        active = head_options.active_dimensions(
            found, unnormalization_statistics, normalization_type)
        with head_options.needing_key():
            actions = self._sample(
                {'params': self.params}, observations, tasks, mask, head=head, train=train,
                rng=rng, noise=noise, sample_shape=sample_shape, embodiment_action_dim=active,
                rngs=_rngs(rng) if train else {}, **options)
        if unnormalization_statistics is None:
            return actions
        return unnormalize_actions(actions, unnormalization_statistics, normalization_type)

    def loss(
        self, batch: Data, *, params: Mapping[str, Any] | None = None,
        rng: PRNGKeyArray | None = None, train: bool = False, head: str = 'action',
        **options: Any,
    ) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
        """Returns the loss of an action head and its metrics; differentiable in `params`.

        Args:
            batch: `observation`, `task`, `action` (b, t, ah, ad) and `action_pad_mask`, as in the
                example batch.
            params: parameters to use instead of the model's own.
            rng: key for dropout and for the steps and noise of a diffusion head; other heads
                want none without dropout.
            train: True to use dropout.
            head: name of the action head.
            **options: `time` and `noise` of a diffusion head, to draw nothing.

        Raises:
            ParameterError: the batch lacks an entry, its actions or an option do not fit the
                head, or a random key is missing.
            ObservationError, TaskError: a shape differs from the example batch.
        """
        for name in ('observation', 'task'):
            if name not in batch:
                raise ParameterError(
                    f"the batch must have '{name}', got {', '.join(sorted(batch)) or 'nothing'}; "
                    'see example_batch')
        mask = self._check(batch['observation'], batch['task'], None, rng)
        found = head_options.find_head(self.module, head)
        head_options.check_batch(found, batch, mask.shape)
        head_options.check_loss_options(found, options)
        with head_options.needing_key():
            return self._loss(
                {'params': self.params if params is None else params}, batch['observation'],
                batch['task'], batch['action'], mask, batch['action_pad_mask'], head=head,
                train=train, rngs=_rngs(rng), **options)

    def save_pretrained(self, step: int, path: str | Path) -> Path:
        """Adds a step to a checkpoint folder in the released layout; returns the step's folder.

        A vocabulary that lies beside the loaded checkpoint goes along.

        Raises:
            CheckpointError: the step is there already, the folder is that of another model, or
                nothing can be written there.
            ParameterError: the step is not a whole number >= 0, or the path is none.
        """
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 0:
            raise ParameterError(
                f'step must be a whole number >= 0, got {step!r}; write '
                'save_pretrained(step, path)')
        processor = self.text_processor
        return save_checkpoint(
            path, step, params=self.params, config=self.config, example_batch=self.example_batch,
            dataset_statistics=self.dataset_statistics,
            vocabulary=None if processor is None else processor.vocabulary_at_hand())

    def get_pretty_spec(self) -> str:
        """Returns what the model takes and gives, as text for people."""
        return model_summary.pretty_spec(
            self.module, self.params, self.example_batch, self.dataset_statistics,
            self.text_processor)

    def _compile(self, method: str) -> Any:
        call = with_precision(functools.partial(self.module.apply, method=method))
        return jax.jit(call, static_argnames=_STATIC)

    def _check(
        self, observations: Data, tasks: Data, mask: Bool[Array, 'b t'] | None,
        rng: PRNGKeyArray | None,
    ) -> Bool[Array, 'b t']:
        model_inputs.check_key(rng)
        found, messages = model_inputs.check_all(
            self.module, self.example_batch, observations, tasks, mask)
        for message in [text for text in messages if text not in self._said]:
            self._said.add(message)
            _log.warning('%s', message)
        return found


@contextlib.contextmanager
def _making(origin: str) -> Iterator[None]:
    """Makes a CheckpointError of what keeps a module from being made or traced."""
    try:
        yield
    except Exception as error:  # Flax and JAX have no common base for sizes that do not fit
        kind = '' if isinstance(error, OctoError) else f'{type(error).__name__}: '
        raise CheckpointError(f'{origin} make no model: {kind}{error}') from error


def _init(module: OctoModule, key: PRNGKeyArray, batch: Data) -> dict[str, Any]:
    observations = batch['observation']
    mask = observations.get('timestep_pad_mask')
    if mask is None:
        first = next(iter(jax.tree.leaves(observations)))
        mask = np.ones(first.shape[:2], bool)
    return module.init(key, observations, batch['task'], mask)['params']


def _rngs(rng: PRNGKeyArray | None) -> dict[str, PRNGKeyArray]:
    return {} if rng is None else {'dropout': rng}
