"""The parameter schema: defaults, limits, types and the messages for a wrong value."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import pytest

from octo_ros import params
from octo_ros.errors import ParameterError


@dataclasses.dataclass(frozen=True)
class Inner:
    """A nested group."""

    max_speed: float = params.param(0.5, 'Largest speed', unit='m/s', gt=0.0, le=2.0)
    corner: tuple[float, ...] = params.param((), 'A corner of the box', unit='m', length=3)


@dataclasses.dataclass(frozen=True)
class Outer:
    """A schema with every kind of field."""

    name: str = params.param('robot', 'Name', one_of=('robot', 'arm'))
    count: int = params.param(3, 'Count', ge=1)
    active: bool = params.param(True, 'Active')
    inner: Inner = params.group(Inner)


def test_leaves_are_listed_in_order_with_dotted_names():
    names = [leaf.name for leaf in params.leaves(Outer)]
    assert names == ['name', 'count', 'active', 'inner.max_speed', 'inner.corner']


def test_values_not_given_keep_their_defaults():
    assert params.from_flat(Outer, {'count': 5}) == Outer(count=5)


def test_nested_mappings_and_dotted_names_give_the_same_instance():
    nested = params.from_nested(Outer, {'inner': {'max_speed': 1, 'corner': [1, 2, 3]}})
    assert nested == params.from_flat(
        Outer, {'inner.max_speed': 1.0, 'inner.corner': (1.0, 2.0, 3.0)})
    assert isinstance(nested.inner.max_speed, float)


@pytest.mark.parametrize(('value', 'word'), [
    (True, 'on'), (False, 'off'), ('keep', 'keep'), ('on', 'on')])
def test_a_switch_is_a_word_though_yaml_takes_it_for_a_boolean(value, word):
    switch = dataclasses.make_dataclass('Switch', [
        ('light', str, params.param('keep', 'Light', one_of=('keep', 'on', 'off')))], frozen=True)
    assert params.from_flat(switch, {'light': value}).light == word
    with pytest.raises(ParameterError, match="'name' must be a string, got bool"):
        params.from_flat(Outer, {'name': True})


@pytest.mark.parametrize(('text', 'value'), [('1e-3', 0.001), ('5E-1', 0.5), ('1.e0', 1.0)])
def test_numbers_that_yaml_takes_for_a_text_are_numbers(text, value):
    assert params.from_flat(Outer, {'inner.max_speed': text}).inner.max_speed == value
    with pytest.raises(ParameterError, match='must be a number'):
        params.from_flat(Outer, {'inner.max_speed': '0.5'})


def test_a_misspelt_name_is_refused_with_the_closest_one():
    with pytest.raises(ParameterError, match=r"cfg.yaml: unknown parameter 'inner.max_sped' "
                                             r"\(did you mean 'inner.max_speed'\?\)"):
        params.from_flat(Outer, {'inner.max_sped': 1.0}, source='cfg.yaml')


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('inner.max_speed', 0.0, 'must be > 0.0, got 0.0'),
    ('inner.max_speed', 2.5, 'must be <= 2.0, got 2.5'),
    ('inner.max_speed', float('nan'), 'must be finite'),
    ('count', 0, 'must be >= 1, got 0'),
    ('count', 1.5, 'must be a whole number, got float 1.5'),
    ('count', True, 'must be a whole number, got bool True'),
    ('active', 'yes', "must be a boolean, got str 'yes'"),
    ('name', 'robott', r"must be one of 'robot', 'arm' \(did you mean 'robot'\?\)"),
    ('inner.corner', (1.0, 2.0), 'must hold 3 numbers or none, got 2'),
    ('inner.corner', 'abc', 'must be a list, each item a number'),
])
def test_a_wrong_value_is_refused_with_the_rule_it_breaks(name, value, message):
    with pytest.raises(ParameterError, match=message):
        params.from_flat(Outer, {name: value})


@hypothesis.given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_taken_exactly_when_it_is_in_range(value):
    inside = 0.0 < value <= 2.0
    try:
        params.from_flat(Outer, {'inner.max_speed': value})
    except ParameterError:
        assert not inside
    else:
        assert inside


def test_to_flat_and_back_is_the_identity():
    outer = Outer(count=7, inner=Inner(max_speed=1.5, corner=(0.0, 1.0, 2.0)))
    assert params.from_flat(Outer, params.to_flat(outer)) == outer


def test_the_limits_are_told_in_words():
    rules = {leaf.name: leaf.rules.text() for leaf in params.leaves(Outer)}
    assert rules['inner.max_speed'] == '> 0.0 and <= 2.0'
    assert rules['name'] == "one of 'robot', 'arm'"
