"""What the controller of the simulated robot is given."""

import json
import shutil

import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.nodes.sim_setup import proprio_remaps


def with_tokenizer(folder, **kwargs):
    """A checkpoint whose config has one more tokenizer."""
    shutil.copytree(shipped_checkpoint(), folder)
    file = folder / 'config.json'
    config = json.loads(file.read_text())
    config['model']['observation_tokenizers']['state'] = {
        'module': 'octo.model.components.tokenizers', 'name': 'LowdimObsTokenizer', 'args': [],
        'kwargs': kwargs}
    file.write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(('keys', 'topics'), [
    (['proprio'], {'proprio': '/state'}), (['prop.*'], {'proprio': '/state'}), (['force'], {}),
    ([], {})])
def test_proprio_is_fed_where_a_tokenizer_reads_it(tmp_path, keys, topics):
    assert proprio_remaps(with_tokenizer(tmp_path / 'own', obs_keys=keys, n_bins=8)) == topics


def test_the_shipped_checkpoint_takes_none():
    assert proprio_remaps(str(shipped_checkpoint())) == {}


@pytest.mark.parametrize('text', ['{}', 'no JSON', '{"model": []}'])
def test_what_is_wrong_with_a_checkpoint_is_left_to_the_controller(tmp_path, text):
    (tmp_path / 'config.json').write_text(text)
    assert proprio_remaps(str(tmp_path)) == {}
    assert proprio_remaps(str(tmp_path / 'nowhere')) == {}
    assert proprio_remaps('hf://no-owner') == {}
