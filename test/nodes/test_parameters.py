"""Schemas as ROS parameters."""

import dataclasses

import pytest
import rclpy
from rcl_interfaces.srv import DescribeParameters
from rclpy.node import Node

from octo_ros import params
from octo_ros.nodes import parameters
from octo_ros.params import group
from octo_ros.params import param


@dataclasses.dataclass(frozen=True)
class Inner:
    speed: float = param(0.5, 'Speed.', unit='m/s', gt=0.0, le=2.0)


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int = param(3, 'Count.', ge=1, lt=10)
    word: str = param('a', 'Word | or not.', one_of=('a', 'b'), read_only=False)
    flag: bool = param(True, 'Flag.')
    names: tuple[str, ...] = param((), 'Names.')
    axes: tuple[int, ...] = param((6,), 'Axes.')
    inner: Inner = group(Inner)


@pytest.fixture
def make_node(ros):
    made = []

    def make(*words: str, **overrides) -> Node:
        node = parameters.ParameterNode(
            'schema', context=ros.context, cli_args=['--ros-args', *words] if words else None,
            parameter_overrides=[rclpy.Parameter(name, value=value)
                                 for name, value in overrides.items()])
        made.append(node)
        parameters.declare(node, params.leaves(Outer))
        return node

    yield make
    for node in made:
        node.destroy_node()


def read(node: Node) -> Outer:
    return params.from_flat(Outer, parameters.given(node), source='node')


def test_defaults_and_overrides_come_back_as_the_schema(make_node) -> None:
    assert read(make_node()) == Outer()
    node = make_node(**{'inner.speed': 1, 'names': ['x', 'y']})
    assert read(node) == Outer(names=('x', 'y'), inner=Inner(speed=1.0))


def test_an_empty_list_on_the_command_line_is_one_and_does_not_kill_the_node(make_node) -> None:
    node = make_node('-p', 'names:=[]', '-p', 'axes:=[]', '-p', 'inner.speed:=1.0')
    assert read(node) == Outer(axes=(), inner=Inner(speed=1.0))
    assert list(node.get_parameter('axes').value) == []


def test_an_empty_list_in_a_parameter_file_is_one_and_does_not_kill_the_node(
        make_node, tmp_path) -> None:
    file = tmp_path / 'own.yaml'
    file.write_text('/**:\n  ros__parameters:\n    names: []\n    axes: []\n    word: b\n')
    assert read(make_node('--params-file', str(file))) == Outer(axes=(), word='b')


def test_an_empty_list_where_a_word_belongs_is_named_on_reading(make_node) -> None:
    node = make_node('-p', 'word:=[]')
    with pytest.raises(params.ParameterError, match=r"'word' must be a string, got list \[\]"):
        read(node)


def test_descriptors_carry_meaning_unit_and_range(ros, make_node) -> None:
    node = make_node(count=4)
    described = {item.name: item for item in node.describe_parameters(
        ['count', 'inner.speed', 'word'])}
    assert described['inner.speed'].description == 'Speed. [m/s]'
    [speeds] = described['inner.speed'].floating_point_range
    assert 0.0 < speeds.from_value < 1e-300
    assert speeds.to_value == 2.0
    [counts] = described['count'].integer_range
    assert (counts.from_value, counts.to_value) == (1, 9)
    assert "one of 'a', 'b'" in described['word'].additional_constraints


def test_ranges_are_there_for_ros2_param_describe(ros, make_node) -> None:
    node = make_node()
    ros._executor.add_node(node)
    response = ros.call(DescribeParameters, '/schema/describe_parameters', names=['count'])
    assert response.descriptors[0].integer_range[0].to_value == 9


@pytest.mark.parametrize(('overrides', 'words'), [
    ({'count': 0}, "'count' must be >= 1, got 0"),
    ({'count': 'many'}, "'count' must be a whole number"),
    ({'inner.sped': 1.0}, "did you mean 'inner.speed'"),
    ({'inner.speed': 2.5}, 'must be <= 2.0'),
])
def test_bad_overrides_do_not_kill_the_node_but_are_named_on_reading(
        make_node, overrides, words) -> None:
    node = make_node(**overrides)
    with pytest.raises(params.ParameterError, match=words):
        read(node)


@pytest.mark.parametrize(('name', 'value', 'frozen', 'reason'), [
    ('word', 'b', True, ''),
    ('word', 'c', True, "must be one of 'a', 'b'"),
    ('count', 5, False, ''),
    ('count', 5, True, 'deactivate and clean it up first'),
    ('cont', 5, False, "did you mean 'count'"),
    ('use_sim_time', True, True, ''),
])
def test_changes_are_judged_by_name_rule_and_state(name, value, frozen, reason) -> None:
    result = parameters.check_change(
        [rclpy.Parameter(name, value=value)], params.leaves(Outer), frozen=frozen)
    assert result.successful == (not reason)
    assert reason in result.reason


def test_a_node_without_a_life_cycle_is_to_be_started_anew() -> None:
    result = parameters.check_change(
        [rclpy.Parameter('count', value=5)], params.leaves(Outer), frozen=True, lifecycle=False)
    assert not result.successful
    assert result.reason.endswith('is read when the node starts; start it anew with the new value')


def test_the_table_has_a_row_for_every_parameter() -> None:
    lines = parameters.table(Outer, 'x.').splitlines()
    assert lines[0] == '| parameter | type | default | meaning |'
    assert lines[2] == '| `x.count` | int | `3` | Count. (>= 1 and < 10) |'
    assert lines[3] == ("| `x.word` | string | `'a'` | Word \\| or not. (one of 'a', 'b') "
                        'Can be changed at run time. |')
    assert lines[4] == '| `x.flag` | bool | `true` | Flag. |'
    assert lines[5] == '| `x.names` | string[] | `[]` | Names. |'
    assert lines[6] == '| `x.axes` | int[] | `[6]` | Axes. |'
    assert lines[7] == '| `x.inner.speed` | double | `0.5` | Speed. [m/s] (> 0.0 and <= 2.0) |'
