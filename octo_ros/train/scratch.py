"""A small Octo with fresh weights, for data of one robot and for machines without a GPU.

It has every part of the large one (early goal fusion, language, block-causal transformer,
diffusion head), its own vocabulary learned from the instructions, and a small language model that
is trained along.
"""

import dataclasses
import logging
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sentencepiece

from octo_ros.checkpoint.hub import VOCABULARY_FILE
from octo_ros.data.augment import default_options
from octo_ros.errors import ParameterError
from octo_ros.model.t5 import T5Encoder
from octo_ros.model.t5 import T5Sizes
from octo_ros.params import param
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.text import TextProcessor

_COMPONENTS = 'model.components'
_log = logging.getLogger('octo_ros.train')
_LANGUAGE = 't5-scratch'
_SMALLEST_VOCABULARY = 64
_STEM_STRIDE = 16


@dataclasses.dataclass(frozen=True)
class ScratchParams:
    """Sizes of a small Octo. The defaults make about 1.3 million parameters, 5 MB on disk."""

    token_size: int = param(128, 'Size of a token in the transformer.', ge=16, le=1024)
    layers: int = param(4, 'Layers of the transformer.', ge=1, le=24)
    heads: int = param(4, 'Attention heads of the transformer.', ge=1, le=32)
    mlp_dim: int = param(256, 'Width of the feed-forward layers.', ge=16, le=8192)
    stem_features: tuple[int, ...] = param(
        (32, 64, 96, 128), 'Channels of the four convolutions in front of the tokens, each a '
        'multiple of 32.', gt=0)
    patch: int = param(
        16, 'Side of the square that becomes a token [pixel], a multiple of 16. Large ones make '
        'few tokens, which is fast.', ge=16, le=256)
    window: int = param(2, 'History steps.', ge=1, le=10)
    action_horizon: int = param(4, 'Actions in a chunk.', ge=1, le=100)
    head_dim: int = param(128, 'Width of the diffusion head.', ge=16, le=2048)
    head_blocks: int = param(3, 'Residual blocks of the diffusion head.', ge=1, le=12)
    noise_draws: int = param(
        4, 'Draws of noise for each chunk in a training step; they cost little beside the '
        'transformer and make the gradient smoother.', ge=1, le=64)
    text_tokens: int = param(12, 'Length of an encoded instruction.', ge=2, le=64)
    vocabulary: int = param(192, 'Greatest number of pieces of text.', ge=_SMALLEST_VOCABULARY)
    language_dim: int = param(64, 'Size of a token in the language model.', ge=8, le=1024)
    language_layers: int = param(2, 'Layers of the language model.', ge=1, le=24)
    repeat_task_tokens: bool = param(
        False, 'Repeat the instruction in every history step, as the released models do.')


def scratch_model(params: ScratchParams, image_sizes: Mapping[str, tuple[int, int]],
                  action_dim: int, texts: Iterable[str], folder: Path, seed: int) -> OctoModel:
    """Makes a small Octo with random weights.

    Args:
        params: its sizes.
        image_sizes: observation key to height and width [pixel], multiples of `params.patch`.
        action_dim: numbers in an action.
        texts: instructions to learn the vocabulary from.
        folder: where the vocabulary file goes.
        seed: of the weights.

    Raises:
        ParameterError: the images cannot be cut into whole patches.
    """
    known = sorted(set(texts))
    file = learn_vocabulary(known, params.vocabulary, folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
    size = pieces.vocab_size()
    longest = 1 + max(map(len, pieces.encode(known)), default=0)  # with the end
    if longest > params.text_tokens:
        _log.warning('the longest instruction of the data has %d tokens, the policy reads %d; '
                     '--set scratch.text_tokens=%d lets it read all', longest, params.text_tokens,
                     longest)
    processor = TextProcessor(
        _LANGUAGE, params.text_tokens, vocabulary=file, vocabulary_size=size)
    config = scratch_config(params, image_sizes, action_dim)
    example = _example(params, image_sizes, action_dim, processor)
    return OctoModel.from_config(
        config, example, processor, jax.random.key(seed),
        params_shapes=_language_shapes(params, size))


def learn_vocabulary(texts: Iterable[str], size: int, folder: Path) -> Path:
    """Learns pieces of text with T5's special ids (padding 0, end 1, unknown 2).

    Every letter, digit and sign of ASCII is a piece, so any English text can be told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = ''.join(map(chr, range(33, 127)))
    lines = sorted({*texts} - {''}) or ['move']
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*lines, ' '.join(letters)]),
        model_prefix=str(folder / Path(VOCABULARY_FILE).stem), model_type='bpe',
        vocab_size=max(size, len(letters) + 4), hard_vocab_limit=False, character_coverage=1.0,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2)
    return folder / VOCABULARY_FILE


def scratch_config(params: ScratchParams, image_sizes: Mapping[str, tuple[int, int]],
                   action_dim: int) -> dict[str, Any]:
    """Returns the configuration, in the form of a released config.json."""
    _check_patches(params.patch, image_sizes)
    cameras = [key.removeprefix('image_') for key in image_sizes]
    model = {
        'observation_tokenizers': {camera: _camera(params, camera) for camera in cameras},
        'task_tokenizers': {'language': _spec(
            f'{_COMPONENTS}.tokenizers', 'LanguageTokenizer', encoder=_LANGUAGE,
            finetune_encoder=True)},
        'heads': {'action': _spec(
            f'{_COMPONENTS}.action_heads', 'DiffusionActionHead', readout_key='readout_action',
            use_map=False, action_horizon=params.action_horizon, action_dim=action_dim,
            n_diffusion_samples=params.noise_draws, dropout_rate=0.0,
            hidden_dim=params.head_dim, num_blocks=params.head_blocks)},
        'readouts': {'action': 1},
        'token_embedding_size': params.token_size,
        'transformer_kwargs': {
            'num_layers': params.layers, 'mlp_dim': params.mlp_dim,
            'num_attention_heads': params.heads, 'dropout_rate': 0.0,
            'attention_dropout_rate': 0.0, 'add_position_embedding': False},
        'max_horizon': max(2, params.window),
        'repeat_task_tokens': params.repeat_task_tokens,
        'use_correct_attention': True}
    return {
        'model': model, 'window_size': params.window,
        'text_processor': _spec(
            'data.utils.text_processing', 'HFTokenizer', tokenizer_name=_LANGUAGE,
            encode_with_model=False, tokenizer_kwargs={
                'max_length': params.text_tokens, 'padding': 'max_length', 'truncation': True,
                'return_tensors': 'np'}),
        'dataset_kwargs': {'frame_transform_kwargs': {
            'resize_size': {camera: list(image_sizes[f'image_{camera}']) for camera in cameras},
            'image_augment_kwargs': {
                camera: default_options(crop='wrist' not in camera) for camera in cameras}}}}


def _check_patches(patch: int, image_sizes: Mapping[str, tuple[int, int]]) -> None:
    if patch % _STEM_STRIDE:
        raise ParameterError(
            f"'scratch.patch' must be a multiple of {_STEM_STRIDE}, got {patch}")
    for key, (height, width) in image_sizes.items():
        if height % patch or width % patch:
            raise ParameterError(
                f"the size of '{key}' must be a multiple of 'scratch.patch' {patch}, got "
                f'{height}x{width}; choose another --size or scratch.patch')


def _camera(params: ScratchParams, camera: str) -> dict[str, Any]:
    encoder = _spec(
        f'{_COMPONENTS}.vit_encoders', 'SmallStem', patch_size=params.patch,
        features=list(params.stem_features), num_features=params.token_size)
    return _spec(
        f'{_COMPONENTS}.tokenizers', 'ImageTokenizer', obs_stack_keys=[f'image_{camera}'],
        task_stack_keys=[f'image_{camera}'], encoder=encoder)


def _spec(module: str, name: str, **kwargs: Any) -> dict[str, Any]:
    return {'module': f'octo.{module}', 'name': name, 'args': [], 'kwargs': kwargs}


def _language_shapes(params: ScratchParams, vocabulary: int) -> dict[str, Any]:
    """Returns the shapes of the language model, from which its sizes are read."""
    heads = max(1, params.language_dim // 16)
    sizes = T5Sizes(
        vocab_size=vocabulary, d_model=params.language_dim, d_kv=params.language_dim // heads,
        d_ff=2 * params.language_dim, num_layers=params.language_layers, num_heads=heads)
    ids = jnp.zeros((1, params.text_tokens), jnp.int32)
    shapes = jax.eval_shape(T5Encoder(sizes).init, jax.random.key(0), ids, ids)
    return {'octo_transformer': {'task_tokenizers_language': {'hf_model': shapes['params']}}}


def _example(params: ScratchParams, image_sizes: Mapping[str, tuple[int, int]], action_dim: int,
             processor: TextProcessor) -> dict[str, Any]:
    steps = (1, params.window)
    images = {key: np.zeros((*steps, *size, 3), np.uint8) for key, size in image_sizes.items()}
    goals = {key: image[:, -1] for key, image in images.items()}
    actions = np.zeros((*steps, params.action_horizon, action_dim), np.float32)
    return {
        'observation': {
            **images, 'timestep_pad_mask': np.ones(steps, bool),
            'pad_mask_dict': {key: np.ones(steps, bool) for key in images}},
        'task': {
            **goals, 'language_instruction': processor.encode(['']),
            'pad_mask_dict': {key: np.ones(1, bool) for key in (*goals, 'language_instruction')}},
        'action': actions, 'action_pad_mask': np.ones(actions.shape, bool)}
