"""A robot world small enough to learn in seconds: the action is where the bright square is."""

import socket

import jax
import numpy as np
import pytest

from octo_ros.data.episode import Episode
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.train.params import TrainParams
from octo_ros.train.scratch import ScratchParams
from octo_ros.train.scratch import scratch_model

SIZES = {'image_primary': (16, 16)}
SCRATCH = ScratchParams(
    token_size=32, layers=1, heads=2, mlp_dim=32, stem_features=(32, 32, 32, 32), head_dim=32,
    head_blocks=1, language_dim=16, language_layers=1, action_horizon=2)
COLOURS = ('red', 'green', 'blue')


def make_episode(number, length=6):
    """Returns an episode in which one colour channel tells the action, by the instruction."""
    rng = np.random.default_rng(number)
    levels = rng.random((length, 3))
    frames = np.repeat(np.repeat(levels[:, None, None] * 255, 16, 1), 16, 2).astype(np.uint8)
    colour = number % 3
    actions = np.stack([levels[:, colour] - 0.5, np.full(length, 0.1 * colour)], axis=1)
    return Episode(
        name=f'episode_{number}', images={'image_primary': frames}, actions=actions,
        instructions=(f'follow {COLOURS[colour]}', f'go for the {COLOURS[colour]} light'),
        proprio=levels[:, :2].astype(np.float32))


def write_episodes(path, count=12):
    """Returns a new set of such episodes."""
    with EpisodeWriter(path, SIZES) as writer:
        for number in range(count):
            writer.add(make_episode(number))
    return EpisodeSet(path)


def make_base(episodes, folder, scratch=SCRATCH):
    """Returns a fresh small model for a set."""
    texts = [text for entry in episodes.entries for text in entry['instructions']]
    return scratch_model(scratch, episodes.image_sizes, episodes.actions.shape[1], texts, folder,
                         seed=0)


def run_params(**changes):
    """Returns parameters of a short run."""
    return TrainParams(**{
        'steps': 4, 'batch_size': 8, 'log_every': 1, 'eval_every': 100, 'save_every': 2,
        'eval_samples': 2, 'eval_steps': 8, 'augment': False} | changes)


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(tmp_path_factory):
    """Keeps what is compiled for the processes that tests start; returns their environment."""
    folder = tmp_path_factory.mktemp('compiled')
    settings = {'jax_compilation_cache_dir': str(folder),
                'jax_persistent_cache_min_compile_time_secs': 0.1}
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield {name.upper(): str(value) for name, value in settings.items()}
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope='session')
def episodes(tmp_path_factory):
    """Returns the set."""
    return write_episodes(tmp_path_factory.mktemp('data') / 'set')


@pytest.fixture(scope='session')
def base(episodes, tmp_path_factory):
    """Returns the model."""
    return make_base(episodes, tmp_path_factory.mktemp('vocabulary'))


@pytest.fixture
def unused_port():
    """Returns a free TCP port of this machine."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
