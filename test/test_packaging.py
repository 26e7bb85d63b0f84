"""What pip, colcon and rosdep read: package.xml, setup.py and the files that get installed."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import venv
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import octo_ros

ROOT = Path(__file__).resolve().parent.parent

# rosdep keys of the packages that ROS' apt repositories or the distribution have.
ROSDEP_KEYS = {
    'matplotlib': 'python3-matplotlib',
    'msgpack': 'python3-msgpack',
    'numpy': 'python3-numpy',
    'opencv-python-headless': 'python3-opencv',
    'pyyaml': 'python3-yaml',
    'rich': 'python3-rich',
    'transforms3d': 'python3-transforms3d',
}


def _manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def _setup() -> dict:
    """Returns the constants and keywords of setup.py without running it."""
    tree = ast.parse((ROOT / 'setup.py').read_text())
    values = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            values[node.targets[0].id] = ast.literal_eval(node.value)
    call = tree.body[-1].value
    for keyword in call.keywords:
        try:
            values[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            values[keyword.arg] = ast.unparse(keyword.value)
    return values


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r'[<>=]', line)[0] for line in requirements}


def test_manifest_is_an_ament_python_package_of_format_3():
    root = _manifest()
    assert root.get('format') == '3'
    assert root.findtext('export/build_type') == 'ament_python'
    assert re.fullmatch(r'[^@\s]+@[^@\s]+\.[a-z]+', root.find('maintainer').get('email'))


def test_versions_agree():
    versions = {_manifest().findtext('version'), _setup()['version'], octo_ros.__version__}
    assert len(versions) == 1


def test_nothing_is_required_by_pip_so_that_entry_points_start_beside_apt_packages():
    assert _setup()['install_requires'] == []


def test_each_python_requirement_is_a_rosdep_key_or_in_the_pip_line_of_the_readme():
    setup, keys = _setup(), {node.text for node in _manifest() if node.tag.endswith('depend')}
    by_pip = _names(setup['POLICY']) - ROSDEP_KEYS.keys()
    assert set(ROSDEP_KEYS.values()) <= keys
    lines = [line for line in (ROOT / 'README.md').read_text().splitlines()
             if 'pip install' in line and 'jax' in line]
    assert len(lines) == 1
    assert by_pip <= set(lines[0].split())


def test_ros_packages_of_pip_and_of_the_manifest_agree():
    wheels = {name.removeprefix('ros-').replace('-', '_')
              for name in _names(_setup()['ROS_WHEELS'])}
    keys = {node.text for node in _manifest() if node.tag.endswith('depend')}
    assert wheels - keys == {'rmw_fastrtps_cpp'}


def test_entry_points_exist():
    for line in _setup()['entry_points']['console_scripts']:
        module, function = line.split(' = ')[1].split(':')
        assert callable(getattr(importlib.import_module(module), function)), line


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A copy of the tree, without what was built in it."""
    return shutil.copytree(
        ROOT, tmp_path_factory.mktemp('copy') / 'source', ignore=shutil.ignore_patterns(
            '.*', 'build', '*.egg-info', '__pycache__', 'install', 'log'))


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory) -> Path:
    """A wheel built from the tree as pip builds it, with what this environment has."""
    folder = tmp_path_factory.mktemp('wheel')
    result = subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
         '--wheel-dir', folder, source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(folder.glob('*.whl'))


def test_scripts_that_colcon_installs_run_with_the_python_of_an_active_environment(
        source, tmp_path):
    # The options that colcon gives; its own Python is the system's, which may lack jax.
    subprocess.run(
        [sys.executable, '-W', 'ignore', 'setup.py', 'egg_info', '--egg-base', tmp_path, 'build',
         '--build-base', tmp_path / 'build', 'install', '--prefix', tmp_path / 'install',
         '--record', tmp_path / 'record', '--single-version-externally-managed'],
        cwd=source, check=True, capture_output=True)
    scripts = sorted((tmp_path / 'install/lib/octo_ros').iterdir())
    assert [path.name for path in scripts] == [
        'image_player', 'octo-ros', 'octo_controller', 'octo_sim']
    assert {path.read_text().splitlines()[0] for path in scripts} == {'#!/usr/bin/env python3'}


def test_wheel_holds_what_the_package_reads_at_run_time(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.partition('.data/data/')[2] or name for name in names}
    wanted = [path.relative_to(ROOT).as_posix()
              for path in (ROOT / 'octo_ros' / 'assets').rglob('*') if path.is_file()]
    wanted += [f'share/octo_ros/{path.relative_to(ROOT).as_posix()}'
               for folder in ('config', 'launch') for path in (ROOT / folder).rglob('*')
               if path.suffix in {'.yaml', '.xml', '.py'}]
    wanted += ['share/ament_index/resource_index/packages/octo_ros', 'share/octo_ros/package.xml']
    assert set(wanted) <= inside


def test_installed_command_starts_where_pip_knows_no_dependency(wheel, tmp_path):
    venv.create(tmp_path / 'bare', with_pip=True)
    python = tmp_path / 'bare' / 'bin' / 'python'
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', wheel],
                   check=True)
    command = tmp_path / 'bare' / 'bin' / 'octo-ros'
    result = subprocess.run([command, '--help'], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert 'inspect' in result.stdout


def test_shipped_files_are_small():
    assets = ROOT / 'octo_ros' / 'assets'
    for folder in (*(assets / 'checkpoints').iterdir(), *(assets / 'recordings').iterdir()):
        size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
        assert size < (8e6 if folder.name == 'tabletop' else 5e6), f'{folder} holds {size} bytes'
