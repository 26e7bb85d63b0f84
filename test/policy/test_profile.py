"""Profiles are read by name or path; what does not go together is refused."""

import pathlib
import sys

import pytest
import yaml

from octo_ros import assets
from octo_ros.errors import ParameterError
from octo_ros.params import flatten
from octo_ros.params import leaves
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.profile import load_profile

SHIPPED = sorted(path.stem for path in (assets.config_dir() / 'robots').glob('*.yaml'))


def write(folder: pathlib.Path, text: str) -> str:
    path = folder / 'mine.yaml'
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize('name', SHIPPED)
def test_every_shipped_profile_is_valid(name: str) -> None:
    profile = load_profile(name)
    assert profile.action.names


def test_the_template_states_every_value_at_its_default() -> None:
    tree = yaml.safe_load((assets.config_dir() / 'robots/template.yaml').read_text())
    stated = {name: tuple(value) if isinstance(value, list) else value
              for name, value in flatten(tree).items()}
    assert stated == {leaf.name: leaf.default for leaf in leaves(RobotProfile)}


def test_a_profile_can_be_read_by_path(tmp_path: pathlib.Path) -> None:
    profile = load_profile(write(tmp_path, 'step_s: 0.1\nlimits: {max_speed: 0.2}'))
    assert (profile.step_s, profile.limits.max_speed) == (0.1, 0.2)
    assert profile.motion_indices == (0, 1, 2, 3, 4, 5)


def test_a_profile_below_the_home_folder_is_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    write(tmp_path, 'step_s: 0.1')
    assert load_profile('~/mine.yaml').step_s == 0.1
    with pytest.raises(ParameterError, match=r"got '~nobody-of-that-name/mine\.yaml'"):
        load_profile('~nobody-of-that-name/mine.yaml')


@pytest.mark.parametrize(('content', 'problem'), [
    ('# Gérard\nstep_s: 0.1'.encode('latin-1'), 'must be UTF-8 text, got byte 0xe9 at 3'),
    (b'since: 2024-99-99', 'must be valid YAML: month must be in'),
    (b'step_s: [', 'must be valid YAML: '),
])
def test_an_unreadable_profile_is_refused_with_its_file(
    tmp_path: pathlib.Path, content: bytes, problem: str
) -> None:
    (tmp_path / 'mine.yaml').write_bytes(content)
    with pytest.raises(ParameterError, match=f'{tmp_path}/mine.yaml {problem}'):
        load_profile(str(tmp_path / 'mine.yaml'))


@pytest.mark.skipif(sys.platform != 'linux', reason='uses /proc')
def test_a_profile_that_cannot_be_read_is_refused_with_its_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'mine.yaml').symlink_to('/proc/self/mem')  # forbidden even to root
    with pytest.raises(ParameterError, match=r'mine\.yaml cannot be read .Input/output error'):
        load_profile(str(tmp_path / 'mine.yaml'))


def test_an_unknown_robot_is_refused_with_the_closest() -> None:
    with pytest.raises(ParameterError, match="did you mean 'widowx'"):
        load_profile('widow_x')


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('step: 0.1', "unknown parameter 'step' .did you mean 'step_s'"),
        ('step_s: -1.0', "'step_s' must be >= 0.001"),
        ('step_s: fast', "'step_s' must be a"),
        ('[1, 2]', 'must map names to values'),
        ('a: [', 'must be valid YAML'),
        ('gripper: {indices: [6, 6]}', "'gripper.indices' must name each gripper once"),
        ('gripper: {indices: [7]}', "'gripper.indices' must be below 7"),
        ('action: {names: [x, y]}\ngripper: {indices: []}', 'must begin with x, y, z'),
        ('gripper: {indices: [2]}', 'must begin with x, y, z'),
        ('command: {type: joint_trajectory}',
         "'command.type' must be one of twist, pose, multi_array, none"),
        ('action: {delta: false}\ncommand: {type: multi_array}',
         "'command.type: multi_array' must go with 'action.delta: true' in Cartesian space"),
        ('action: {delta: false}\ncommand: {type: pose}\n'
         'limits: {per_step: [1, 1, 1, 1, 1, 1, 1]}',
         "'limits.per_step' must be empty for absolute Cartesian actions"),
        ('action: {delta: false}', "'command.type: twist' must go with"),
        ('limits: {per_step: [0.1]}', 'one number for each of the 7'),
        ('limits: {workspace_min: [0, 0, 0]}', "must be below 'limits.workspace_max'"),
        ('limits: {workspace_min: [0, 0, 0], workspace_max: [1, 0, 1]}', 'must be below'),
        ('limits: {workspace_min: [0, 0], workspace_max: [1, 1]}', 'must hold 3'),
    ],
)
def test_a_wrong_profile_is_refused_with_the_reason(
    tmp_path: pathlib.Path, text: str, problem: str
) -> None:
    with pytest.raises(ParameterError, match=problem):
        load_profile(write(tmp_path, text))
