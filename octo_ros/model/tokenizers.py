"""Tokenizers: from observations and tasks to groups of tokens.

A tokenizer that finds nothing to work on returns None and the sequence goes without its tokens.
"""

import logging
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.errors import TaskError
from octo_ros.model.bins import BinTokenizer
from octo_ros.model.t5 import T5Encoder
from octo_ros.model.t5 import T5Sizes
from octo_ros.model.tokens import TokenGroup
from octo_ros.model.transformer import MAPHead
from octo_ros.model.vision import EncoderSpec

Data = Mapping[str, Any]
LANGUAGE_KEY = 'language_instruction'
EMBEDDINGS = 'embeddings'  # of an instruction that went through the language model before
PIECES = 'pieces'  # what `LanguageTokenizer.count_pieces` makes of it
# The task entry with those numbers, which conditions image encoders like any other vector.
PIECES_KEY = 'language_pieces'
_TEXT_END = 1  # T5's id of the end of a text; that of padding is 0
_log = logging.getLogger('octo_ros.model')


def match_keys(patterns: Sequence[str], keys: Iterable[str]) -> list[str]:
    """Returns the keys, sorted, whose beginning matches one of the regular expressions."""
    return [key for key in sorted(keys) if any(re.match(pattern, key) for pattern in patterns)]


def pad_mask(shape: Sequence[int], data: Data, keys: Sequence[str], *,
             proper: bool) -> Bool[Array, '*batch n']:
    """Returns which tokens are real: those of items of which at least one key is.

    Args:
        shape: shape of the mask, tokens last.
        data: observation or task; its `pad_mask_dict` has one mask per key. Where it or a key of
            it is missing, all tokens count as real.
        keys: what the tokens were made of.
        proper: False to count all tokens as real.
    """
    masks = data.get('pad_mask_dict') or {}
    if not proper:
        return jnp.ones(shape, bool)
    missing = sorted(set(keys) - set(masks))
    if missing:
        _log.info('pad_mask_dict has no %s: all of its tokens count as real', ', '.join(missing))
        return jnp.ones(shape, bool)
    real = jnp.stack([jnp.asarray(masks[key], bool) for key in keys], axis=-1).any(axis=-1)
    return jnp.broadcast_to(real[..., None], shape)


class TokenLearner(nn.Module):
    """Pools any number of tokens to a fixed number (arXiv:2106.11297, by attention pooling)."""

    num_tokens: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b t n d'], *, train: bool) -> Float[Array, 'b t m d']:
        """Returns `num_tokens` tokens."""
        x = x + self.param('pos_embed', nn.initializers.normal(0.02), x.shape[-2:])
        x = nn.LayerNorm(name='LayerNorm_0')(x)
        group = TokenGroup(x, jnp.ones(x.shape[:-1], bool))
        return MAPHead(self.num_tokens, name='MAPHead_0')(group, train=train)


class ImageTokenizer(nn.Module):
    """Tokens of images that are stacked on their channels, with or without goal images.

    As an observation tokenizer it takes at least one observation. As a task tokenizer, with
    `obs_stack_keys` empty, it encodes goal images apart from the observations, once for the
    whole window; Octo itself has no such mode.

    Attributes:
        encoder: the image encoder.
        use_token_learner: True to pool the encoder's grid to `num_tokens` tokens.
        num_tokens: number of tokens when pooled.
        conditioning_type: stands in old configurations; it has no effect.
        obs_stack_keys: regular expressions for observations to stack; empty for goals alone.
        task_stack_keys: regular expressions for goal images to stack behind them.
        task_film_keys: task entries (b, k) that condition the encoder.
        proper_pad_mask: False to count every token as real.
    """

    encoder: EncoderSpec
    use_token_learner: bool = False
    num_tokens: int = 8
    conditioning_type: str = 'none'
    obs_stack_keys: Sequence[str] = ('image_.*', 'depth_.*')
    task_stack_keys: Sequence[str] = ()
    task_film_keys: Sequence[str] = ()
    proper_pad_mask: bool = True

    def observation_keys(self, observations: Iterable[str]) -> list[str]:
        """Returns the observations that this tokenizer stacks, in order."""
        return match_keys(self.obs_stack_keys, observations)

    def missing_goals(self, observations: Iterable[str], tasks: Iterable[str]) -> list[str]:
        """Returns the goal images that this tokenizer would use and the task does not have."""
        if not self.observation_keys(observations):
            return []
        return sorted(set(match_keys(self.task_stack_keys, observations)) - set(tasks))

    @nn.compact
    def __call__(self, observations: Data, tasks: Data, *, train: bool) -> TokenGroup | None:
        """Returns tokens (b, t, n, d), or None when nothing matches; (b, n, d) of goals alone.

        Args:
            observations: images (b, t, ih, iw, c) by key.
            tasks: goal images (b, ih, iw, c) by key; zero pixels stand for a missing one.
            train: True to use dropout.
        """
        images = self._images(observations, tasks)
        if not images:
            return None
        stack = _stack(images)
        batch, steps = stack.shape[:2]
        grid = self.encoder.build()(stack.reshape(batch * steps, *stack.shape[2:]),
                                    self._condition(tasks, steps))
        if not grid.size:
            raise _no_grid(self, stack, grid)
        tokens = grid.reshape(batch, steps, -1, grid.shape[-1])
        if self.use_token_learner:
            tokens = TokenLearner(self.num_tokens, name='TokenLearner_0')(tokens, train=train)
        source, keys = observations, self.observation_keys(observations)
        if not self.obs_stack_keys:
            source, keys = tasks, match_keys(self.task_stack_keys, tasks)
            tokens = tokens[:, 0]
        mask = pad_mask(tokens.shape[:-1], source, keys, proper=self.proper_pad_mask)
        return TokenGroup(tokens, mask)

    def _images(self, observations: Data,
                tasks: Data) -> dict[str, UInt8[Array, 'b t ih iw c']]:
        """Returns what is stacked by a name for messages; nothing when there is nothing to see."""
        images = {key: jnp.asarray(observations[key])
                  for key in self.observation_keys(observations)}
        if self.obs_stack_keys and not images:
            return {}
        steps = next((image.shape[1] for image in images.values()), 1)
        goals = {key: jnp.zeros_like(observations[key][:, 0])
                 for key in self.missing_goals(observations, tasks)}
        goals |= {key: jnp.asarray(tasks[key]) for key in match_keys(self.task_stack_keys, tasks)}
        if self.task_stack_keys and not goals and images:
            raise TaskError('the task must have a goal image for '
                            f'{", ".join(self.task_stack_keys)}, got '
                            f'{", ".join(sorted(tasks)) or "an empty task"}')
        for key, goal in sorted(goals.items()):
            shape = (goal.shape[0], steps, *goal.shape[1:])
            images[f'goal {key}'] = jnp.broadcast_to(goal[:, None], shape)
        return images

    def _condition(self, tasks: Data, steps: int) -> Float[Array, 'b*t k'] | None:
        if not self.task_film_keys:
            return None
        missing = [key for key in self.task_film_keys if key not in tasks]
        if missing:
            raise TaskError(f'the task must have {", ".join(missing)}, which conditions the image '
                            f'encoder, got {", ".join(sorted(tasks)) or "an empty task"}')
        words = [key for key in self.task_film_keys if isinstance(tasks[key], Mapping)]
        if words:
            raise TaskError(f"the task must have a vector as '{words[0]}', which conditions the "
                            f"image encoder, got token ids; name '{PIECES_KEY}' in task_film_keys "
                            'of the config to be conditioned by words')
        vector = jnp.concatenate([tasks[key] for key in self.task_film_keys], axis=-1)
        return jnp.repeat(vector, steps, axis=0)


def _no_grid(tokenizer: ImageTokenizer, stack: Array, grid: Array) -> CheckpointError:
    # The transformer holds its tokenizers in mappings, which Flax joins to group_name.
    path = re.sub(r'^((?:observation|task)_tokenizers)_', r'model.\1.', str(tokenizer.name))
    height, width = stack.shape[2:4]
    return CheckpointError(
        f'config.json: {path}.kwargs.encoder must make at least one token of an image of '
        f'{height}x{width}, got a grid of {grid.shape[1]}x{grid.shape[2]}; take a smaller '
        'patch_size, or larger images in the example batch')


def _stack(images: Mapping[str, UInt8[Array, 'b t ih iw c']]) -> UInt8[Array, 'b t ih iw c']:
    sizes = {image.shape[:-1] for image in images.values()}
    if len(sizes) > 1 or len(sizes.pop()) != 4:
        shapes = ', '.join(f'{name} {image.shape}' for name, image in images.items())
        raise ObservationError('stacked images must be (b, t, ih, iw, c) and of one size, got '
                               f'{shapes}; resize them to the sizes in the example batch')
    return jnp.concatenate(list(images.values()), axis=-1)


class LanguageTokenizer(nn.Module):
    """Tokens of the instruction.

    Attributes:
        encoder: name of the language model in the configuration, or None.
        finetune_encoder: True to let gradients into the language model.
        proper_pad_mask: False to count every token as real.
        sizes: sizes of the language model; None when `encoder` is None.
    """

    encoder: str | None = None
    finetune_encoder: bool = False
    proper_pad_mask: bool = True
    sizes: T5Sizes | None = None

    def setup(self) -> None:
        """Makes the language model, if there is one."""
        if self.sizes is not None:
            self.hf_model = T5Encoder(self.sizes)

    def encode(self, instruction: Any) -> Float[Array, 'b n d']:
        """Returns embeddings of `{input_ids, attention_mask}`; an array is taken as embeddings."""
        if not isinstance(instruction, Mapping):
            embeddings = jnp.asarray(instruction)
            return embeddings[:, None] if embeddings.ndim == 2 else embeddings
        if EMBEDDINGS in instruction:
            return jnp.asarray(instruction[EMBEDDINGS])
        if self.sizes is None:
            raise _no_encoder()
        embeddings = self.hf_model(instruction['input_ids'], instruction['attention_mask'])
        return embeddings if self.finetune_encoder else jax.lax.stop_gradient(embeddings)

    def count_pieces(self, instruction: Mapping[str, Any]) -> UInt8[Array, 'b vocab']:
        """Returns how often each piece of the vocabulary stands in `{input_ids, ...}`."""
        if PIECES in instruction:
            return jnp.asarray(instruction[PIECES])
        if self.sizes is None:
            raise _no_encoder()
        ids = jnp.asarray(instruction['input_ids'])
        pieces = jax.nn.one_hot(ids, self.sizes.vocab_size, dtype=jnp.uint8)
        return jnp.sum(pieces * (ids > _TEXT_END)[..., None], axis=1, dtype=jnp.uint8)

    def with_pieces(self, tasks: Data) -> dict[str, Any]:
        """Returns the task with `language_pieces` (b, vocab), all zero without an instruction.

        This vector conditions an image encoder (FiLM): from the first training step on it tells
        the words apart, which a fresh language model does not. A given one, such as the zeros of
        an example batch, counts only where there are no words to count.
        """
        instruction = tasks.get(LANGUAGE_KEY)
        if not isinstance(instruction, Mapping) or not {PIECES, 'input_ids'} & instruction.keys():
            return dict(tasks)
        pieces = self.count_pieces(instruction)
        real = pad_mask((len(pieces), 1), tasks, (LANGUAGE_KEY,), proper=self.proper_pad_mask)
        return {**tasks, PIECES_KEY: pieces.astype(jnp.float32) * real}

    def __call__(self, observations: Data, tasks: Data, *, train: bool) -> TokenGroup | None:
        """Returns tokens (b, n, d), or None when the task has no `language_instruction`."""
        del observations, train
        if LANGUAGE_KEY not in tasks:
            return None
        tokens = self.encode(tasks[LANGUAGE_KEY])
        mask = pad_mask(tokens.shape[:-1], tasks, (LANGUAGE_KEY,), proper=self.proper_pad_mask)
        return TokenGroup(tokens, mask)


def _no_encoder() -> CheckpointError:
    return CheckpointError(
        'the language tokenizer has no encoder, so language_instruction must be an array of '
        'embeddings, got token ids; remove the text processor from config.json')


class LowdimObsTokenizer(nn.Module):
    """One token for each number of a vector observation, as it is or as a bin.

    Attributes:
        n_bins: number of bins, see `BinTokenizer`.
        bin_type: kind of bins.
        low: lower end of uniform bins.
        high: upper end of uniform bins.
        obs_keys: regular expressions for the observations; all matches of the first come first.
        discretize: True for one-hot bins (d = n_bins), False for the number itself (d = 1).
        proper_pad_mask: stands in configurations; tokens of vectors are never masked by key.
    """

    n_bins: int = 256
    bin_type: str = 'uniform'
    low: float = 0.0
    high: float = 1.0
    obs_keys: Sequence[str] = ()
    discretize: bool = False
    proper_pad_mask: bool = True

    def observation_keys(self, observations: Iterable[str]) -> list[str]:
        """Returns the observations that this tokenizer joins, in order."""
        keys = list(observations)
        return [key for pattern in self.obs_keys for key in match_keys((pattern,), keys)]

    @nn.compact
    def __call__(self, observations: Data, tasks: Data, *, train: bool) -> TokenGroup | None:
        """Returns tokens (b, t, p, d), or None when no observation matches."""
        del tasks, train
        keys = self.observation_keys(observations)
        if not keys:
            return None
        for key in keys:
            if jnp.ndim(observations[key]) != 3:
                raise ObservationError(f'{key} must have the shape (b, t, p), got '
                                       f'{jnp.shape(observations[key])}; give one vector a step')
        values = jnp.concatenate([observations[key] for key in keys], axis=-1)
        tokens = values[..., None]
        if self.discretize:
            bins = BinTokenizer(self.n_bins, self.bin_type, self.low, self.high)
            tokens = jax.nn.one_hot(bins.encode(values), self.n_bins)
        return TokenGroup(tokens, jnp.ones(tokens.shape[:-1], bool))
