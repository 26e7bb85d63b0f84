import jax
import pytest

from octo_ros.errors import ParameterError
from octo_ros.train.scratch import ScratchParams
from octo_ros.train.scratch import scratch_model

SMALL = {'token_size': 16, 'layers': 1, 'heads': 1, 'mlp_dim': 16, 'language_dim': 16,
         'language_layers': 1, 'stem_features': (32, 32, 32, 32)}


def make(folder, size, **changes):
    return scratch_model(ScratchParams(**SMALL, **changes), {'image_primary': size}, 2,
                         ['push the block'], folder, seed=0)


@pytest.mark.parametrize(('patch', 'tokens'), [(16, 8), (32, 2)])
def test_a_patch_becomes_a_token(tmp_path, patch, tokens):
    model = make(tmp_path, (32, 64), patch=patch)
    observation, task = model.example_batch['observation'], model.example_batch['task']
    outputs = jax.eval_shape(lambda: model.module.apply(
        {'params': model.params}, observation, task, observation['timestep_pad_mask'],
        method='run_transformer'))
    assert outputs['obs_primary'].tokens.shape[2] == tokens


@pytest.mark.parametrize(('size', 'patch', 'what'), [
    ((32, 48), 32, '32x48'), ((32, 32), 24, 'multiple of 16')])
def test_images_that_leave_a_rest_are_refused(tmp_path, size, patch, what):
    with pytest.raises(ParameterError, match=what):
        make(tmp_path, size, patch=patch)


@pytest.mark.parametrize('length', [4, 5])
def test_instructions_that_are_longer_than_the_model_reads_are_told_of(tmp_path, caplog, length):
    text = 'a b c d'  # four pieces and the end
    scratch_model(ScratchParams(**SMALL, text_tokens=length), {'image_primary': (32, 32)}, 2,
                  [text], tmp_path, seed=0)
    said = '--set scratch.text_tokens=5 lets it read all'
    assert (said in caplog.text) == (length < 5)
