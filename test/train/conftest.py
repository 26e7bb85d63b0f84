"""A robot world small enough to learn in seconds: the action is where the bright bar is."""

import jax
import numpy as np
import pytest

from octo_ros.data.episode import Episode
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.train.params import TrainParams
from octo_ros.train.scratch import ScratchParams
from octo_ros.train.scratch import scratch_model

SIZES = {'image_primary': (32, 32)}
SCRATCH = ScratchParams(
    token_size=32, layers=1, heads=2, mlp_dim=32, stem_features=(32, 32, 64, 128), head_dim=32,
    head_blocks=1, language_dim=16, language_layers=1, action_horizon=2)
COLOURS = ('red', 'green', 'blue')


def make_episode(number, length=6):
    """Returns an episode whose actions tell the column of a bar and the colour asked for."""
    rng = np.random.default_rng(number)
    places = rng.integers(0, 25, length)
    columns = np.arange(32)
    bars = (columns >= places[:, None]) & (columns < places[:, None] + 8)
    frames = np.broadcast_to(bars[:, None, :, None] * np.uint8(255), (length, 32, 32, 3))
    colour = number % 3
    actions = np.stack([places / 25 - 0.5, np.full(length, 0.1 * colour)], axis=1)
    return Episode(
        name=f'episode_{number}', images={'image_primary': np.array(frames)}, actions=actions,
        instructions=(f'follow {COLOURS[colour]}', f'go for the {COLOURS[colour]} light'),
        proprio=rng.random((length, 2)).astype(np.float32))


def write_episodes(path, count=24):
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
