"""Tests of finding the files that ship with the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import octo_ros
from octo_ros import assets
from octo_ros.checkpoint.released import locate
from octo_ros.errors import CheckpointError

ROOT = Path(octo_ros.__file__).resolve().parent.parent


def test_data_of_the_package_is_there():
    assert (assets.shipped_checkpoint() / 'config.json').is_file()
    assert (assets.shipped_recording() / 'metadata.yaml').is_file()


def test_the_shipped_policy_is_the_trained_one_where_there_is_one():
    policy = assets.shipped_policy()
    assert (policy / 'config.json').is_file()
    assert assets.is_untrained(assets.shipped_checkpoint())
    assert assets.is_untrained(policy) == (not policy.with_name('tabletop').is_dir())


def test_a_checkpoint_that_ships_goes_by_its_name_everywhere():
    assert locate('shipped') == assets.shipped_policy()
    assert locate('untrained') == assets.shipped_checkpoint()
    with pytest.raises(CheckpointError, match='must be a checkpoint folder'):
        locate('shiped')


def test_the_source_tree_comes_first():
    if not (ROOT / 'package.xml').is_file():
        pytest.skip('the package is installed, not in its source tree')
    assert assets.config_dir() == ROOT / 'config'
    assert assets.launch_dir() == ROOT / 'launch'


_FIND = """
import sys
sys.path.insert(0, sys.argv[1])
from octo_ros import assets
print(assets.__file__)
print(assets.config_dir())
"""


def install(prefix, *, site):
    """Lays out an installation: the package in `site`, its files under share."""
    package = prefix / site / 'octo_ros'
    package.mkdir(parents=True)
    for name in ('__init__.py', 'assets.py', 'errors.py'):
        (package / name).write_bytes((ROOT / 'octo_ros' / name).read_bytes())
    (prefix / 'share' / 'octo_ros' / 'config').mkdir(parents=True)
    return package.parent


def find(folder):
    """Runs the installed package with the bare standard library."""
    return subprocess.run(
        [sys.executable, '-I', '-S', '-c', _FIND, str(folder)], check=False, text=True,
        capture_output=True, cwd=folder, env={**os.environ, 'AMENT_PREFIX_PATH': ''})


@pytest.mark.parametrize(
    'site', ['lib/python3.11/site-packages', 'local/lib/python3.11/dist-packages'])
def test_an_installation_finds_its_share_folder(tmp_path, site):
    folder = install(tmp_path, site=site)
    # A folder of that name beside the package belongs to somebody else.
    (folder / 'config').mkdir()
    answer = find(folder)
    assert answer.returncode == 0, answer.stderr
    module, config = answer.stdout.splitlines()
    assert module == str(folder / 'octo_ros' / 'assets.py')
    assert config == str(tmp_path / 'share' / 'octo_ros' / 'config')


def test_a_missing_folder_names_every_place(tmp_path):
    folder = install(tmp_path, site='lib/python3.11/site-packages')
    (tmp_path / 'share/octo_ros/config').rmdir()
    answer = find(folder)
    assert answer.returncode == 1
    error = answer.stderr.splitlines()[-1]
    assert 'found none of: ' in error
    assert str(tmp_path / 'share' / 'octo_ros' / 'config') in error
    assert 'install the package again' in error


def test_the_package_offers_the_model_without_importing_jax():
    code = ("import sys, octo_ros; assert 'jax' not in sys.modules; "
            "assert octo_ros.__version__; octo_ros.OctoModel; print('jax' in sys.modules)")
    answer = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == 'True'


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'OctoModle'"):
        octo_ros.OctoModle  # noqa: B018
