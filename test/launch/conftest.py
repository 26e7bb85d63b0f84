"""An ament prefix that stands for an installation of the working tree."""

import os
import pathlib
import stat
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def prefix(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What `colcon build` would install, with links into the working tree."""
    prefix = tmp_path_factory.mktemp('install')
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / 'octo_ros').touch()
    share = prefix / 'share' / 'octo_ros'
    share.mkdir()
    (share / 'package.xml').symlink_to(ROOT / 'package.xml')
    for file in (file for name in ('launch', 'config') for file in (ROOT / name).rglob('*.*')):
        link = share / file.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    programs = prefix / 'lib' / 'octo_ros'
    programs.mkdir(parents=True)
    for name, function in (('octo_controller', 'controller'), ('image_player', 'player'),
                           ('octo_sim', 'simulator')):
        program = programs / name
        program.write_text(f'#!{sys.executable}\nimport sys\n'
                           f'from octo_ros.nodes.entry import {function}\n'
                           f'sys.exit({function}())\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return prefix


@pytest.fixture
def environment(prefix: pathlib.Path, tmp_path: pathlib.Path) -> dict[str, str]:
    """The environment after sourcing that installation, on a DDS domain of the test's own."""
    from octo_ros.nodes import isolation

    present = os.environ.get('AMENT_PREFIX_PATH', sys.prefix)
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    own = isolation.isolated({
        name: value for name, value in os.environ.items()
        if name != 'FASTDDS_DEFAULT_PROFILES_FILE'})
    del own['FASTDDS_DEFAULT_PROFILES_FILE']
    return {**own, 'AMENT_PREFIX_PATH': f'{prefix}:{present}', 'PYTHONPATH': ':'.join(paths),
            'ROS_LOG_DIR': str(tmp_path / 'log'), 'JAX_PLATFORMS': 'cpu'}
