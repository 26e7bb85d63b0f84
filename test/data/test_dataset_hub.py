"""`hf://datasets/…` against a cache laid out as huggingface_hub lays it out, without a network."""

import os
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from octo_ros.checkpoint.hub import HubPath
from octo_ros.data.dataset_hub import hub_dataset
from octo_ros.data.datasets import is_dataset
from octo_ros.data.datasets import open_dataset
from octo_ros.data.import_spec import ImportSpec
from octo_ros.errors import DataError
from test.data import lerobot_files

COMMIT = '0123456789abcdef0123456789abcdef01234567'


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache with one data set, and a library that is offline."""
    lerobot_files.write_v30(tmp_path / 'set', [lerobot_files.episode(0, 5)])
    repo = tmp_path / 'hub/datasets--owner--pick'
    (repo / 'blobs').mkdir(parents=True)
    for number, file in enumerate(sorted((tmp_path / 'set').rglob('*'))):
        if file.is_file():
            blob = repo / f'blobs/{number:040x}'
            blob.write_bytes(file.read_bytes())
            link = repo / 'snapshots' / COMMIT / file.relative_to(tmp_path / 'set')
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / 'refs').mkdir()
    (repo / 'refs/v3.0').write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))


def test_a_data_set_of_the_cache_is_read(cache):
    path = Path('hf://datasets/owner/pick@v3.0')
    assert is_dataset(path)
    (found,) = open_dataset(path, ImportSpec(cameras={'image_primary': 'top'}))
    assert found.findings == ()
    np.testing.assert_array_equal(found.episode.actions, lerobot_files.episode(0, 5)['action'])


def test_what_the_cache_lacks_is_refused_with_the_way_out(cache):
    with pytest.raises(DataError, match=r'hf://datasets/owner/other: cannot be had .*OFFLINE=1'):
        open_dataset(Path('hf://datasets/owner/other'), ImportSpec())


@pytest.mark.parametrize('make', [str, Path])
def test_names_are_told_from_paths(make):
    assert hub_dataset(make('hf://datasets/owner/pick')) == HubPath('owner/pick')
    assert hub_dataset(make('hf://datasets/owner/pick@v2.1')) == HubPath('owner/pick', 'v2.1')
    assert hub_dataset(make('some/folder')) is None
    for wrong in ('hf://datasets/owner', 'hf://owner/pick', 'hf://datasets/a/b/c'):
        with pytest.raises(DataError, match='must be written hf://datasets/owner/name'):
            hub_dataset(make(wrong))


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match='got neither'):
        open_dataset(tmp_path, ImportSpec())
