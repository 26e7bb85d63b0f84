"""Tests of the text processor against T5's own ids and with a vocabulary made on the spot."""

import json
import logging

import huggingface_hub.constants
import numpy as np
import pytest
import sentencepiece

from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.policy.text import TextProcessor
from octo_ros.policy.text import check_instruction

CONFIG = {
    'module': 'octo.data.utils.text_processing', 'name': 'HFTokenizer', 'args': [],
    'kwargs': {
        'tokenizer_name': 't5-base', 'encode_with_model': False,
        'tokenizer_kwargs': {
            'max_length': 16, 'padding': 'max_length', 'truncation': True,
            'return_tensors': 'np'}}}


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    """A sentencepiece file with T5's special ids and 60 pieces."""
    folder = tmp_path_factory.mktemp('vocabulary')
    words = ('pick up the red block', 'put the blue cup on the plate', 'open the drawer')
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20), model_prefix=str(folder / 'spiece'), vocab_size=60,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=3)
    return folder / 'spiece.model'


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The hub as a machine without a network and with an empty cache sees it."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    return tmp_path / 'hub'


def test_ids_equal_those_of_the_reference_tokenizer(golden):
    cases = json.loads((golden / 't5' / 'token_ids.json').read_text())['cases']
    processor = TextProcessor.from_config(CONFIG, [golden / 't5'])
    encoded = processor.encode([case['text'] for case in cases])
    np.testing.assert_array_equal(encoded['input_ids'], [case['input_ids'] for case in cases])
    np.testing.assert_array_equal(
        encoded['attention_mask'], [case['attention_mask'] for case in cases])


def test_the_empty_text_needs_no_vocabulary(offline):
    encoded = TextProcessor.from_config(CONFIG).encode([''])
    assert encoded['input_ids'].tolist() == [[1] + 15 * [0]]
    assert encoded['attention_mask'].tolist() == [[1] + 15 * [0]]


def test_the_vocabulary_beside_the_checkpoint_is_found(vocabulary):
    processor = TextProcessor.from_config(CONFIG, [vocabulary.parent])
    ids = processor.encode(['open the drawer'])['input_ids'][0]
    assert processor.vocabulary_file() == vocabulary
    assert ids[0] > 2
    assert 1 in ids


def test_a_vocabulary_in_a_folder_with_the_tokenizers_name_is_found(vocabulary, tmp_path):
    (tmp_path / 't5-tiny').mkdir()
    (tmp_path / 't5-tiny' / 'spiece.model').symlink_to(vocabulary)
    processor = TextProcessor('t5-tiny', 16, search=[tmp_path])
    assert processor.vocabulary_file() == tmp_path / 't5-tiny' / 'spiece.model'


def test_a_given_vocabulary_wins_over_every_other(vocabulary, tmp_path):
    (tmp_path / 'spiece.model').write_bytes(b'another one')
    processor = TextProcessor.from_config(CONFIG, [tmp_path], vocabulary=vocabulary)
    assert processor.vocabulary_file() == vocabulary


@pytest.mark.parametrize('repo', ['models--google-t5--t5-base', 'models--t5-base'])
def test_a_vocabulary_in_the_hub_cache_is_found_offline(vocabulary, offline, repo):
    commit = '0123456789abcdef0123456789abcdef01234567'
    snapshot = offline / repo / 'snapshots' / commit
    snapshot.mkdir(parents=True)
    (offline / repo / 'refs').mkdir()
    (offline / repo / 'refs' / 'main').write_text(commit)
    (snapshot / 'spiece.model').symlink_to(vocabulary)
    processor = TextProcessor.from_config(CONFIG)
    assert processor.vocabulary_file() == snapshot / 'spiece.model'
    assert processor.encode(['open the drawer'])['input_ids'].shape == (1, 16)


def test_a_missing_vocabulary_says_where_it_was_sought_and_what_to_do(offline, tmp_path):
    processor = TextProcessor.from_config(CONFIG, [tmp_path])
    with pytest.raises(TaskError) as caught:
        processor.encode(['open the drawer'])
    text = str(caught.value)
    assert str(tmp_path / 'spiece.model') in text
    assert 'google-t5/t5-base' in text
    assert "set 'vocabulary'" in text


def test_an_unknown_tokenizer_name_asks_no_hub(tmp_path):
    processor = TextProcessor('t5-tiny', 16, search=[tmp_path])
    with pytest.raises(TaskError, match="no repository is known for the tokenizer 't5-tiny'"):
        processor.encode(['open the drawer'])


def test_a_given_vocabulary_must_exist(tmp_path):
    with pytest.raises(ParameterError, match='there is none at'):
        TextProcessor('t5-base', 16, vocabulary=tmp_path / 'absent.model')


def test_a_damaged_vocabulary_is_named(tmp_path):
    (tmp_path / 'spiece.model').write_bytes(b'\x00damaged')
    with pytest.raises(TaskError, match='must be a sentencepiece vocabulary'):
        TextProcessor('t5-tiny', 16, search=[tmp_path]).encode(['open the drawer'])


def test_a_long_instruction_is_cut_as_in_training_and_says_so(vocabulary, caplog):
    processor = TextProcessor.from_config(CONFIG, vocabulary=vocabulary)
    with caplog.at_level(logging.WARNING, 'octo_ros'):
        encoded = processor.encode(3 * ['open the drawer ' * 625])
    assert encoded['attention_mask'].tolist() == 3 * [16 * [1]]
    assert encoded['input_ids'][0, -1] == 1
    (record,) = caplog.records
    assert 'sees only' in record.getMessage()
    assert len(record.getMessage()) < 300


def test_a_text_that_just_fits_gives_no_warning(vocabulary, caplog):
    tokens = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary)).encode('open')
    processor = TextProcessor('t5-tiny', len(tokens) + 1, vocabulary=vocabulary)
    with caplog.at_level(logging.WARNING, 'octo_ros'):
        encoded = processor.encode(['open'])
    assert encoded['input_ids'].tolist() == [[*tokens, 1]]
    assert not caplog.records


@pytest.mark.parametrize('text', ['', '   ', '\t\n'])
def test_an_instruction_without_words_is_refused(text):
    with pytest.raises(TaskError, match='must hold words'):
        check_instruction(text)


def test_a_lone_surrogate_is_refused(vocabulary):
    with pytest.raises(TaskError, match=r'must be Unicode text, got half a character at .* 5 of'):
        TextProcessor('t5-tiny', 16, vocabulary=vocabulary).encode(['open \ud800'])


def test_a_blank_text_is_refused_by_encode(vocabulary):
    with pytest.raises(TaskError, match='must hold words'):
        TextProcessor('t5-tiny', 16, vocabulary=vocabulary).encode(['  '])


def test_ids_beyond_the_model_s_table_name_the_wrong_vocabulary(vocabulary):
    processor = TextProcessor.from_config(CONFIG, vocabulary=vocabulary, vocabulary_size=5)
    with pytest.raises(TaskError, match=r'must be the vocabulary .*5 ids.*spiece.model'):
        processor.encode(['open the drawer'])


def test_another_kind_of_processor_is_refused():
    with pytest.raises(CheckpointError, match="must be 'HFTokenizer', got 'MuseEmbedding'"):
        TextProcessor.from_config({**CONFIG, 'name': 'MuseEmbedding'})


@pytest.mark.parametrize(('key', 'value'), [('padding', 'longest'), ('truncation', False)])
def test_another_padding_is_refused(key, value):
    arguments = {**CONFIG['kwargs'], 'tokenizer_kwargs': {key: value}}
    with pytest.raises(CheckpointError, match=f'tokenizer_kwargs.{key} must be'):
        TextProcessor.from_config({**CONFIG, 'kwargs': arguments})


def test_the_length_defaults_to_that_of_the_reference():
    assert TextProcessor.from_config({**CONFIG, 'kwargs': {}}).max_length == 64


@pytest.mark.parametrize(('entry', 'message'), [
    ('hf', "text_processor must be a mapping, got 'hf'"),
    ({**CONFIG, 'kwargs': None}, 'text_processor.kwargs must be a mapping, got None'),
    ({**CONFIG, 'kwargs': {'tokenizer_kwargs': None}},
     'text_processor.kwargs.tokenizer_kwargs must be a mapping, got None'),
    ({**CONFIG, 'kwargs': {'tokenizer_kwargs': {'max_length': 0}}}, 'at least 1, got .* and 0'),
])
def test_damaged_entries_name_their_path(entry, message):
    with pytest.raises(CheckpointError, match=f'config.json: .*{message}'):
        TextProcessor.from_config(entry)
