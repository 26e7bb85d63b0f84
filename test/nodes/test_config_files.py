"""Every key of config/ is a parameter, and every profile loads."""

import pathlib
import xml.etree.ElementTree as ET

import pytest
import yaml

from octo_ros import params
from octo_ros.assets import config_dir
from octo_ros.nodes import schema
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.profile import load_profile

ROBOTS = sorted(path.stem for path in (config_dir() / 'robots').glob('*.yaml'))


def test_controller_yaml_holds_parameters_of_the_controller_and_no_others() -> None:
    tree = yaml.safe_load((config_dir() / 'controller.yaml').read_text())
    flat = params.flatten(tree['/**']['ros__parameters'])
    made = schema.build(flat, source='controller.yaml')
    # What it shows are the defaults, so that reading it is not misleading.
    shown = {name: params.to_flat(made)[name] for name in flat}
    defaults = params.to_flat(schema.ControllerParams())
    assert shown == {name: defaults[name] for name in flat}


@pytest.mark.parametrize('robot', ROBOTS)
def test_every_profile_is_valid(robot) -> None:
    tree = yaml.safe_load((config_dir() / 'robots' / f'{robot}.yaml').read_text())
    assert params.to_flat(load_profile(robot))['action.names'] == tuple(tree['action']['names'])


def test_the_usual_robots_are_there() -> None:
    assert {'widowx', 'google_robot', 'franka', 'aloha', 'template'} <= set(ROBOTS)


def test_the_template_holds_every_value_at_its_default() -> None:
    tree = yaml.safe_load((config_dir() / 'robots' / 'template.yaml').read_text())
    assert list(params.flatten(tree)) == [leaf.name for leaf in params.leaves(RobotProfile)]
    assert load_profile('template') == RobotProfile()


def test_what_the_profile_says_reaches_loop_and_policy() -> None:
    made = schema.build({'profile.step_s': 0.07, 'profile.statistics_key': 'k',
                         'profile.normalization_type': 'bounds'}, source='test')
    assert made.loop.step_s == 0.07
    assert made.policy.statistics_key == 'k'
    assert made.policy.normalization_type == 'bounds'


def test_every_parameter_is_described() -> None:
    leaves = list(schema.controller_leaves())
    assert len({leaf.name for leaf in leaves}) == len(leaves)
    assert all(leaf.rules.description.endswith('.') for leaf in leaves)


def test_the_fast_dds_profile_takes_a_raw_image_in_one_message() -> None:
    root = ET.parse(config_dir() / 'fastdds.xml').getroot()
    space = {'d': 'http://www.eprosima.com'}
    size = int(root.find('.//d:maxMessageSize', space).text)
    segment = int(root.find('.//d:segment_size', space).text)
    assert 1280 * 720 * 3 < size <= 4 * 1024**2
    assert segment >= 8 * size
    assert pathlib.Path(config_dir() / 'fastdds.xml').read_bytes().startswith(b'<?xml')


@pytest.mark.parametrize(('text', 'full'), [
    ("'statistics_key' must name one", "'profile.statistics_key' must name one"),
    ("set 'vocabulary' to the file", "set 'policy.vocabulary' to the file"),
    ("'head' must be one of action, got 'acton'",
     "'policy.head' must be one of action, got 'acton'"),
    ("'command.type: twist' must go with 'action.delta: true'",
     "'profile.command.type: twist' must go with 'profile.action.delta: true'"),
    ("'robot' and 'profile.limits.per_step' stay", "'robot' and 'profile.limits.per_step' stay"),
    ("camera must be one of 'image_primary'", "camera must be one of 'image_primary'"),
])
def test_errors_name_parameters_as_they_are_set_on_the_node(text, full) -> None:
    assert schema.in_full(text) == full
