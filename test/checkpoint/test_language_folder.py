"""Tests of what the reference needs for a language model that the hub lacks."""

import json

import jax
import jax.numpy as jnp
import pytest

from octo_ros.checkpoint.language_folder import own_language
from octo_ros.checkpoint.save import save_checkpoint
from octo_ros.model.t5 import T5Encoder
from octo_ros.model.t5 import T5Sizes

SIZES = T5Sizes(vocab_size=12, d_model=8, d_kv=2, d_ff=6, num_layers=1, num_heads=4)


@pytest.fixture(scope='module')
def params():
    ids = jnp.zeros((1, 3), jnp.int32)
    language = T5Encoder(SIZES).init(jax.random.key(0), ids, ids)['params']
    return {'octo_transformer': {'task_tokenizers_language': {'hf_model': language}}}


def config(encoder):
    return {'model': {'task_tokenizers': {'language': {'kwargs': {'encoder': encoder}}}}}


@pytest.fixture
def vocabulary(tmp_path):
    file = tmp_path / 'learnt.model'
    file.write_bytes(b'pieces')
    return file


def save(folder, params, encoder, vocabulary):
    save_checkpoint(folder, 0, params=params, config=config(encoder), example_batch={},
                    vocabulary=vocabulary)


def test_a_language_model_of_ones_own_gets_a_folder_that_tells_its_sizes(
        tmp_path, params, vocabulary):
    save(tmp_path / 'saved', params, 't5-mine', vocabulary)
    folder = tmp_path / 'saved' / 't5-mine'
    assert (folder / 'spiece.model').read_bytes() == b'pieces'
    assert not (tmp_path / 'saved' / 'spiece.model').exists()
    found = json.loads((folder / 'config.json').read_text())
    # The names are those of transformers' T5Config.
    assert found.items() >= {
        'model_type': 't5', 'vocab_size': 12, 'd_model': 8, 'd_kv': 2, 'd_ff': 6,
        'num_layers': 1, 'num_heads': 4, 'relative_attention_num_buckets': 32,
        'relative_attention_max_distance': 128, 'feed_forward_proj': 'relu'}.items()
    tokenizer = json.loads((folder / 'tokenizer_config.json').read_text())
    assert tokenizer['tokenizer_class'] == 'T5Tokenizer'
    assert tokenizer['extra_ids'] == 0


@pytest.mark.parametrize('encoder', ['t5-base', 'google/flan-t5-small', '../t5'])
def test_a_name_that_the_hub_knows_gets_none(tmp_path, params, vocabulary, encoder):
    save(tmp_path / 'saved', params, encoder, vocabulary)
    assert {path.name for path in (tmp_path / 'saved').iterdir()} == {
        '0', 'config.json', 'example_batch.msgpack', 'spiece.model'}


def test_the_folder_stays_when_another_step_is_saved(tmp_path, params, vocabulary):
    for step in (1, 2):
        save_checkpoint(tmp_path / 'saved', step, params=params, config=config('t5-mine'),
                        example_batch={}, vocabulary=vocabulary)
    assert (tmp_path / 'saved' / 't5-mine' / 'config.json').is_file()


def test_a_model_without_language_has_no_own_language(params):
    assert own_language({}, params) is None
    assert own_language(config(None), params) is None
    assert own_language(config('t5-mine'), {'octo_transformer': {}}) is None
