#!/usr/bin/env python3
"""Makes the checkpoint that ships with the package: Octo's layout and inputs, made small.

    python scripts/make_demo_checkpoint.py [FOLDER]

Two cameras with early goal fusion, an instruction, a diffusion head, a window of 2 and chunks of
4 actions, as in Octo 1.5. The policy is NOT trained: all weights are drawn at random from one
seed. Only the diffusion head is fitted, to pure noise (three minutes on two cores), because a
denoiser with random weights drives every number into its clipping bound; its chunks are thus
random numbers with the mean and half the spread of the statistics. The vocabulary is learned
from sentences made here.

The same seed gives the same files on the same machine and library versions.
"""

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sentencepiece

from octo_ros.checkpoint.hub import VOCABULARY_FILE
from octo_ros.model.t5 import T5Encoder
from octo_ros.model.t5 import T5Sizes
from octo_ros.model.tokens import TokenGroup
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.text import TextProcessor

SEED = 20240513
TARGET = Path(__file__).resolve().parent.parent / 'octo_ros/assets/checkpoints/untrained'

WINDOW = 2
HORIZON = 4
ACTION_DIM = 7
TEXT_LENGTH = 16
TOKEN_SIZE = 96
VOCABULARY_SIZE = 384
CAMERAS = {'primary': 128, 'wrist': 64}  # side of the square image [pixel]
STEM_FEATURES = [32, 64, 96, 128]
LANGUAGE = 't5-demo'
LANGUAGE_SIZES = T5Sizes(
    vocab_size=VOCABULARY_SIZE, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)

# Rounded numbers of the size that BridgeData V2 has: steps of 0.2 s in metres and radians, and a
# gripper from 0 to 1.
STATISTICS = {'bridge_dataset': {
    'action': {
        'mean': [0.0002, 0.0001, -0.0001, -0.0002, -0.0004, 0.0002, 0.576],
        'std': [0.0098, 0.0137, 0.0127, 0.0285, 0.0306, 0.0769, 0.497],
        'min': [-0.40, -0.14, -0.23, -3.21, -1.87, -6.28, 0.0],
        'max': [0.42, 0.25, 0.21, 3.14, 1.88, 6.28, 1.0],
        'p01': [-0.029, -0.042, -0.026, -0.081, -0.094, -0.207, 0.0],
        'p99': [0.028, 0.041, 0.040, 0.082, 0.078, 0.204, 1.0],
        'mask': [True, True, True, True, True, True, False]},
    'num_transitions': 2135463, 'num_trajectories': 60064}}


def sentences() -> Iterator[str]:
    """Yields instructions of a tabletop, and lines that bring in every printable character."""
    colors = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
    things = ('block', 'cube', 'cup', 'mug', 'bowl', 'plate', 'spoon', 'pot', 'towel', 'carrot',
              'drawer', 'lid', 'can', 'bottle', 'sponge', 'ball', 'pan', 'knife', 'fork', 'cloth',
              'corn', 'potato', 'eggplant', 'lever')
    places = ('on the plate', 'into the bowl', 'in the drawer', 'in the sink', 'on the towel',
              'to the left', 'to the right', 'to the front', 'on top of the pot', 'on the table',
              'from counter or drying rack into sink', 'upright', 'vertical to front',
              'near the stove', 'behind the box', 'between the cups')
    for color, thing, place in itertools.product(colors, things, places):
        yield f'put the {color} {thing} {place}'
        yield f'Move the {color} {thing} {place}.'
        yield f'pick up the {thing} and place it {place}'
    for color, thing in itertools.product(colors, things):
        for verb in ('pick up', 'push', 'open', 'close', 'turn', 'lift', 'slide', 'grasp',
                     'flip', 'fold', 'wipe'):
            yield f'{verb} the {color} {thing}'
    printable = ''.join(map(chr, range(33, 127)))
    yield from (' '.join(printable), printable, 'the quick brown fox jumps over the lazy dog')


def train_vocabulary(folder: Path) -> Path:
    """Learns a vocabulary with T5's special ids (padding 0, end 1, unknown 2)."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(), model_prefix=str(folder / 'spiece'),
        model_type='bpe', vocab_size=VOCABULARY_SIZE, character_coverage=1.0, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, num_threads=1, minloglevel=2)
    return folder / VOCABULARY_FILE


def spec(module: str, name: str, **kwargs: Any) -> dict[str, Any]:
    """Returns a ModuleSpec as it stands in config.json."""
    return {'module': f'octo.{module}', 'name': name, 'args': [], 'kwargs': kwargs}


def image_tokenizer(camera: str) -> dict[str, Any]:
    """Returns the tokenizer of one camera; goal and observation share the stem's channels."""
    encoder = spec(
        'model.components.vit_encoders', 'SmallStem16', features=STEM_FEATURES, num_features=128)
    return spec(
        'model.components.tokenizers', 'ImageTokenizer', obs_stack_keys=[f'image_{camera}'],
        task_stack_keys=[f'image_{camera}'], encoder=encoder)


def make_config() -> dict[str, Any]:
    """Returns a training config with the entries that matter to a policy."""
    colour = {
        'random_brightness': [0.1], 'random_contrast': [0.9, 1.1],
        'random_saturation': [0.9, 1.1], 'random_hue': [0.05]}
    model = {
        'observation_tokenizers': {camera: image_tokenizer(camera) for camera in CAMERAS},
        'task_tokenizers': {'language': spec(
            'model.components.tokenizers', 'LanguageTokenizer', encoder=LANGUAGE,
            finetune_encoder=False)},
        'heads': {'action': spec(
            'model.components.action_heads', 'DiffusionActionHead',
            readout_key='readout_action', use_map=False, action_horizon=HORIZON,
            action_dim=ACTION_DIM, n_diffusion_samples=1, dropout_rate=0.0, hidden_dim=96,
            num_blocks=2)},
        'readouts': {'action': 1},
        'token_embedding_size': TOKEN_SIZE,
        'transformer_kwargs': {
            'num_layers': 3, 'mlp_dim': 192, 'num_attention_heads': 4, 'dropout_rate': 0.0,
            'attention_dropout_rate': 0.0, 'add_position_embedding': False},
        'max_horizon': 10,
        'repeat_task_tokens': True,
        'use_correct_attention': True}
    crop = {'random_resized_crop': {'scale': [0.8, 1.0], 'ratio': [0.9, 1.1]}}
    return {
        'model': model,
        'text_processor': spec(
            'data.utils.text_processing', 'HFTokenizer', tokenizer_name=LANGUAGE,
            encode_with_model=False, tokenizer_kwargs={
                'max_length': TEXT_LENGTH, 'padding': 'max_length', 'truncation': True,
                'return_tensors': 'np'}),
        'window_size': WINDOW,
        'seed': SEED,
        'num_steps': 0,
        'dataset_kwargs': {
            'frame_transform_kwargs': {
                'resize_size': {camera: [side, side] for camera, side in CAMERAS.items()},
                'image_augment_kwargs': {
                    'primary': {
                        **crop, **colour, 'augment_order': ['random_resized_crop', *colour]},
                    'wrist': {**colour, 'augment_order': [*colour]}}},
            'traj_transform_kwargs': {
                'window_size': WINDOW, 'action_horizon': HORIZON, 'max_action_dim': ACTION_DIM}}}


def make_example_batch(text: TextProcessor) -> dict[str, Any]:
    """Returns one batch of size 1 whose shapes are the model's inputs."""
    images = {
        f'image_{camera}': np.zeros((1, WINDOW, side, side, 3), np.uint8)
        for camera, side in CAMERAS.items()}
    steps = np.arange(WINDOW, dtype=np.int32)[None]
    valid = np.ones((1, WINDOW), bool)
    observation = {
        **images, 'timestep': steps, 'timestep_pad_mask': valid,
        'task_completed': np.zeros((1, WINDOW, HORIZON), bool),
        'pad_mask_dict': {**dict.fromkeys(images, valid), 'timestep': valid}}
    task = {
        **{key: image[:, -1] for key, image in images.items()},
        'language_instruction': text.encode(['pick up the red block']),
        'timestep': steps[:, -1],
        'pad_mask_dict': {
            key: np.ones(1, bool) for key in (*images, 'language_instruction', 'timestep')}}
    actions = np.zeros((1, WINDOW, HORIZON, ACTION_DIM), np.float32)
    return {
        'observation': observation, 'task': task, 'action': actions,
        'action_pad_mask': np.ones(actions.shape, bool)}


def language_shapes() -> dict[str, Any]:
    """Returns the shapes of the language model under their paths in the whole tree."""
    ids = jnp.zeros((1, TEXT_LENGTH), jnp.int32)
    shapes = jax.eval_shape(T5Encoder(LANGUAGE_SIZES).init, jax.random.key(0), ids, ids)
    return {'octo_transformer': {'task_tokenizers_language': {'hf_model': shapes['params']}}}


def fit_head_to_noise(model: OctoModel, steps: int = 6000, batch: int = 256) -> None:
    """Fits the diffusion head alone to normal random actions that depend on nothing.

    What the head reads is drawn at random too, with the unit variance that the last norm of the
    transformer gives, so that the chunks keep their spread whatever the cameras show.
    """
    head = model.module.heads['action'].clone(parent=None)
    valid = jnp.ones((batch, WINDOW), bool)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(3e-3, steps)))

    def loss(params: Any, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 5)
        actions = jax.random.normal(keys[0], (batch, WINDOW, HORIZON, ACTION_DIM)) * 0.5
        actions = actions.at[..., -1].add(0.5)  # the gripper is not normalised: 0..1
        # Sampling divides the error of the first, noisiest step by sqrt(1 - 0.999), so that
        # step gets half of the draws.
        time = jax.random.randint(keys[1], (1, batch, WINDOW, 1), 0, head.diffusion_steps)
        first = jax.random.bernoulli(keys[2], 0.5, time.shape)
        tokens = jax.random.normal(keys[4], (batch, WINDOW, 1, TOKEN_SIZE))
        readout = {head.readout_key: TokenGroup(tokens, jnp.ones(tokens.shape[:-1], bool))}
        return head.apply(
            {'params': params}, readout, actions, valid, jnp.ones(actions.shape, bool),
            time=jnp.where(first, head.diffusion_steps - 1, time),
            noise=jax.random.normal(keys[3], (1, batch, WINDOW, HORIZON * ACTION_DIM)),
            method='loss')[0]

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        return optax.apply_updates(params, updates), state

    params = model.params['heads_action']
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(SEED + 1), steps):
        params, state = step(params, state, key)
    model.params = {**model.params, 'heads_action': params}


def main() -> None:
    """Writes the checkpoint, in place of one that is there."""
    parser = argparse.ArgumentParser(description='Makes the small checkpoint of the package.')
    parser.add_argument('folder', nargs='?', type=Path, default=TARGET)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        text = TextProcessor(
            LANGUAGE, TEXT_LENGTH, vocabulary=train_vocabulary(Path(scratch)),
            vocabulary_size=VOCABULARY_SIZE)
        model = OctoModel.from_config(
            make_config(), make_example_batch(text), text, jax.random.key(SEED), STATISTICS,
            params_shapes=language_shapes())
        fit_head_to_noise(model)
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(0, folder)
    size = sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())
    print(f'{folder}: {size / 1e6:.2f} MB')
    print(model.get_pretty_spec())


if __name__ == '__main__':
    main()
