"""Tests of `hf://` against a cache laid out as huggingface_hub lays it out, without a network."""

import os
import subprocess
import sys

import huggingface_hub.constants
import pytest

from octo_ros.checkpoint.hub import HubPath
from octo_ros.checkpoint.hub import parse
from octo_ros.checkpoint.hub import vocabulary_repo
from octo_ros.checkpoint.released import load
from octo_ros.errors import CheckpointError

COMMIT = '0123456789abcdef0123456789abcdef01234567'
OTHER = 'fedcba9876543210fedcba9876543210fedcba98'


def fill_cache(cache, checkpoint, *, ref, commit):
    """Stores a checkpoint as the library does: blobs, snapshots of links to them, and refs."""
    repo = cache / 'models--owner--octo-tiny'
    (repo / 'blobs').mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(sorted(checkpoint.rglob('*'))):
        if not file.is_file():
            continue
        blob = repo / 'blobs' / f'{commit[:8]}{number:032x}'
        blob.write_bytes(file.read_bytes())
        link = repo / 'snapshots' / commit / file.relative_to(checkpoint)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / 'refs').mkdir(exist_ok=True)
    (repo / 'refs' / ref).write_text(commit)


@pytest.fixture
def cache(monkeypatch, tmp_path, save_small):
    """A cache with two revisions of one repository, and a library that is offline."""
    folder = tmp_path / 'hub'
    fill_cache(folder, save_small(tmp_path / 'one', 7, scale=1.0), ref='main', commit=COMMIT)
    fill_cache(folder, save_small(tmp_path / 'two', 7, scale=2.0), ref='v2', commit=OTHER)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(folder))
    return folder


def test_the_main_branch_is_the_default(cache):
    assert load('hf://owner/octo-tiny').params['head']['bias'].tolist() == [1, -1]


@pytest.mark.parametrize('path', ['hf://owner/octo-tiny@v2', f'hf://owner/octo-tiny@{OTHER}'])
def test_a_revision_in_the_path_is_taken(cache, path):
    assert load(path).params['head']['bias'].tolist() == [2, -2]


def test_a_revision_may_be_given_apart(cache):
    assert load('hf://owner/octo-tiny', revision='v2').params['head']['bias'].tolist() == [2, -2]


def test_a_step_of_a_checkpoint_on_the_hub_can_be_chosen(cache):
    assert load('hf://owner/octo-tiny', 7).step == 7
    with pytest.raises(CheckpointError, match='has no step 9; the steps there are 7'):
        load('hf://owner/octo-tiny', 9)


def test_a_step_whose_number_is_padded_can_be_chosen(tmp_path, save_small, monkeypatch):
    saved = save_small(tmp_path / 'one', 7)
    (saved / '7').rename(saved / '0007')
    fill_cache(tmp_path / 'hub', saved, ref='main', commit=COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    assert load('hf://owner/octo-tiny', 7).step == 7


def test_what_the_cache_lacks_is_refused_with_the_way_out(cache):
    with pytest.raises(CheckpointError, match=r'hf://owner/absent: cannot be had .*HF_HUB_OFFL'):
        load('hf://owner/absent')
    with pytest.raises(CheckpointError, match='hf://owner/octo-tiny@v9: cannot be had'):
        load('hf://owner/octo-tiny@v9')


def test_a_name_that_the_hub_does_not_allow_is_refused(cache):
    with pytest.raises(CheckpointError, match='hf://owner/a b: cannot be had'):
        load('hf://owner/a b')


def test_the_environment_of_the_library_counts(tmp_path, save_small):
    fill_cache(tmp_path / 'hub', save_small(tmp_path / 'one'), ref='main', commit=COMMIT)
    code = 'from octo_ros.checkpoint.released import load; print(load("hf://owner/octo-tiny").step)'
    environment = {
        **os.environ, 'HF_HUB_OFFLINE': '1', 'HF_HUB_CACHE': str(tmp_path / 'hub'),
        'JAX_PLATFORMS': 'cpu'}
    answer = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True,
        env=environment)
    assert answer.stdout.strip() == '7'


@pytest.mark.parametrize(('path', 'parsed'), [
    ('hf://owner/name', HubPath('owner/name')),
    ('hf://owner/name/', HubPath('owner/name')),
    ('hf://owner/name@main', HubPath('owner/name', 'main')),
    ('hf://owner/name@refs/pr/1', HubPath('owner/name', 'refs/pr/1'))])
def test_paths_are_taken_apart(path, parsed):
    assert parse(path) == parsed
    assert parse(str(parsed)) == parsed


@pytest.mark.parametrize('path', ['hf://name', 'hf://', 'hf://a/b/c', 'hf:///b', 'hf://a/b@'])
def test_other_forms_are_refused(path):
    with pytest.raises(CheckpointError, match='must be written hf://owner/name'):
        parse(path)


def test_two_revisions_are_refused():
    with pytest.raises(CheckpointError, match='must name one revision'):
        parse('hf://owner/name@a', 'b')


def test_tokenizers_are_found_by_their_old_names():
    assert vocabulary_repo('t5-base') == 'google-t5/t5-base'
    assert vocabulary_repo('google/flan-t5-base') == 'google/flan-t5-base'
    assert vocabulary_repo('t5-tiny') is None
