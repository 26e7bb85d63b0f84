"""Success in the simulator as a test of a training run."""

import importlib.util

import numpy as np
import pytest

from octo_ros.cli.closed_loop_test import ClosedLoopTest
from octo_ros.cli.main import main
from octo_ros.data.episode import Episode
from octo_ros.data.statistics import dataset_statistics
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.sim import gl
from octo_ros.train.params import TrainParams
from test.train.conftest import SIZES
from test.train.conftest import make_base

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / 'set', SIZES) as writer:
        writer.add(Episode(
            name='one', images={'image_primary': rng.integers(0, 256, (5, 32, 32, 3), np.uint8)},
            actions=rng.normal(size=(5, 7)), instructions=('reach the red block',), proprio=None))
    episodes = EpisodeSet(tmp_path / 'set')
    made = make_base(episodes, tmp_path)
    made.dataset_statistics = dataset_statistics(episodes.actions, {}, 1)
    return made


def test_every_condition_and_kind_of_task_has_a_rate_at_the_steps_asked_for(model):
    params = TrainParams(steps=25)
    with ClosedLoopTest(model, params, every=10, episodes=1, statistics_key='',
                        max_steps=1) as test:
        assert test(model.params, 5) == {}
        rates = test(model.params, 20)
        assert test(model.params, 25) == rates  # the last step, the same scenes
    assert set(rates) == {f'{condition}_{kind}' for condition in ('language', 'goal')
                          for kind in ('reach', 'lift', 'put', 'push', 'all')}
    assert set(rates.values()) <= {0.0, 1.0}


@pytest.mark.parametrize(('words', 'message'), [
    (['--closed-loop-every', '1000'], "must go with --robot viperx_sim, .* got 'widowx'"),
    (['--closed-loop-every', '700', '--robot', 'viperx_sim'], "multiple of 'eval_every', .*1000"),
    (['--closed-loop-every', '1000', '--robot', 'viperx_sim', '--closed-loop-episodes', '0'],
     'at least 1, got 0')])
def test_what_cannot_be_tested_is_refused_before_training(tmp_path, capsys, words, message):
    assert main(['finetune', str(tmp_path), '--out', str(tmp_path / 'run'), *words]) == 2
    import re
    assert re.search(message, capsys.readouterr().err)
