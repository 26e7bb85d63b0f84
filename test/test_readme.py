"""The README: its commands run, its tables are the generated ones, its links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text()
BIN = Path(sys.executable).parent
DOMAIN_ID = '100'
# What rclpy itself makes on every (lifecycle) node.
OF_RCLPY = ('parameter', 'rosout', 'transition', '_state', 'type_description')


def _blocks(language: str) -> list[str]:
    return re.findall(rf'^```{language}\n(.*?)^```', README, re.DOTALL | re.MULTILINE)


def _commands(program: str) -> list[str]:
    lines = [line for block in _blocks('sh') for line in block.splitlines()]
    return [line.split('#')[0].strip() for line in lines if line.startswith(program)]


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder that looks like the source tree to a command, so that nothing is written there."""
    (tmp_path / 'octo_ros').symlink_to(ROOT / 'octo_ros')
    return tmp_path


@pytest.mark.parametrize('command', _commands('octo-ros'))
def test_command_of_the_quick_start_runs(command, place):
    if 'doctor' in command:
        pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
    words = shlex.split(command)
    result = subprocess.run(
        [BIN / words[0], *words[1:]], cwd=place, capture_output=True, text=True, check=False,
        env=os.environ | {'ROS_DOMAIN_ID': DOMAIN_ID, 'JAX_PLATFORMS': 'cpu',
                          'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('command', _commands('make'))
def test_make_target_of_the_quick_start_exists(command):
    subprocess.run([*command.split(), '--dry-run'], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize('block', _blocks('python'))
def test_python_example_runs(block, capsys):
    exec(compile(block, 'README.md', 'exec'), {})
    assert 'parameters' in capsys.readouterr().out


def test_launch_arguments_in_the_readme_exist():
    launched = (ROOT / 'launch' / 'octo.launch.py').read_text()
    played = (ROOT / 'launch' / 'replay.launch.py').read_text()
    of_replay = {'bag', 'topics'}
    for argument in set(re.findall(r'\b([a-z_]+):=', README)) - of_replay:
        assert f"'{argument}'" in launched, argument
    for argument in of_replay:
        assert f"'{argument}'" in played, argument


def test_every_robot_profile_is_described():
    for file in (ROOT / 'config' / 'robots').glob('*.yaml'):
        assert f'| `{file.stem}` |' in README


def test_every_link_leads_to_a_file():
    for target in re.findall(r'\]\((?!http)([^)#]+)\)', README):
        assert (ROOT / target).exists(), target


def test_options_of_replay_exist(capsys):
    from octo_ros.cli.main import main
    with pytest.raises(SystemExit):
        main(['replay', '--help'])
    known = capsys.readouterr().out
    usage = next(block for block in _blocks('text') if block.startswith('octo-ros replay'))
    for option in re.findall(r'--[a-z-]+', usage):
        assert option in known


def test_tables_are_the_generated_ones():
    pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
    from octo_ros.nodes import tables
    simulator = (ROOT / 'doc' / 'simulator.md').read_text()
    for name, table in tables.tables().items():
        text = simulator if name.startswith('sim_') else README
        assert f'<!-- {name} -->\n{table}<!-- end of {name} -->' in text, (
            f'the table {name} is out of date: run `python -m octo_ros.nodes.tables README.md '
            'doc/simulator.md`')


@pytest.fixture
def controller(monkeypatch) -> Iterator[Any]:
    """The real controller, configured with a policy that needs no checkpoint."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
    from octo_ros.nodes.controller_node import ControllerNode
    from octo_ros.policy.fakes import FakePolicy
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(DOMAIN_ID))
    node = ControllerNode(policy=FakePolicy(), context=context)
    node.trigger_configure()
    yield node
    node.stop()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_tables_name_the_topics_and_services_of_the_running_node(controller):
    from octo_ros.nodes import tables
    own = (controller.get_name(), controller.get_namespace())
    live = {
        'INPUTS': controller.get_subscriber_names_and_types_by_node(*own),
        'OUTPUTS': controller.get_publisher_names_and_types_by_node(*own),
        'SERVICES': controller.get_service_names_and_types_by_node(*own)}
    for group, found in live.items():
        rows = {row.name: row.type for row in getattr(tables, group)}
        for name, types in found:
            if any(word in name for word in OF_RCLPY):
                continue
            shown = name.replace(f'/{own[0]}/', '~/') if name.startswith(f'/{own[0]}/') else name
            shown = re.sub(r'image_(primary|wrist)', 'image_KEY', shown)
            row = rows.get(shown) or rows.get(shown.removeprefix('/'))
            assert row, f'{name} is not in {group}'
            assert types[0] in row
