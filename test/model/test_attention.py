"""Attention masks as literal matrices: rows are queries, columns keys, x = attends."""

import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.model.attention import AttentionRule
from octo_ros.model.attention import GroupLayout
from octo_ros.model.attention import SequenceLayout
from octo_ros.model.octo_transformer import rules_for


def octo(sizes, horizon):
    """Returns the layout that Octo's rules make of groups with these sizes."""
    groups = [GroupLayout(name, size, rules_for(name)) for name, size in sizes.items()]
    return SequenceLayout(tuple(group for group in groups if group.name.startswith('task_')),
                          tuple(group for group in groups if not group.name.startswith('task_')),
                          horizon)


def matrix(text):
    return np.array([[mark == 'x' for mark in row.split()] for row in text.strip().splitlines()])


TASK_OBS_READOUT = """
x x . . . . . .
x x . . . . . .
x x x x . . . .
x x x x . . . .
x x x x x . . .
x x x x . x x .
x x x x . x x .
x x x x x x x x
"""  # order: l l | a a r | a a r


def test_tasks_see_tasks_observations_the_past_and_readouts_themselves_too():
    layout = octo({'task_language': 2, 'obs_a': 2, 'readout_r': 1}, horizon=2)
    np.testing.assert_array_equal(layout.mask(), matrix(TASK_OBS_READOUT))
    assert layout.length == 8


def test_observation_groups_of_one_step_see_each_other():
    layout = octo({'obs_a': 1, 'obs_b': 1}, horizon=2)
    np.testing.assert_array_equal(layout.mask(), matrix("""
        x x . .
        x x . .
        x x x x
        x x x x
    """))


def test_readouts_do_not_see_other_readouts_and_nobody_sees_them():
    layout = octo({'obs_a': 1, 'readout_p': 1, 'readout_q': 2}, horizon=1)
    np.testing.assert_array_equal(layout.mask(), matrix("""
        x . . .
        x x . .
        x . x x
        x . x x
    """))


def test_repeated_task_tokens_count_as_observations():
    layout = octo({'task_l': 1, 'obs_a': 1, 'obs_task_l': 1, 'readout_r': 1}, horizon=1)
    np.testing.assert_array_equal(layout.mask(), matrix("""
        x . . .
        x x x .
        x x x .
        x x x x
    """))


SHIFTED = """
x x . . . . . .
x x . . . . . .
x x x x x . . .
x x x x x . . .
x x x x x . . .
x x x x x x x x
x x x x x x x x
x x x x x x x x
"""


def test_december_models_take_the_only_readout_token_for_an_observation():
    layout = octo({'task_language': 2, 'obs_a': 2, 'readout_r': 1}, horizon=2)
    np.testing.assert_array_equal(layout.mask(first_token_shifted=True), matrix(SHIFTED))


def test_december_models_shift_only_the_first_token_of_a_group():
    layout = octo({'obs_a': 1, 'readout_r': 2}, horizon=1)
    np.testing.assert_array_equal(layout.mask(first_token_shifted=True), matrix("""
        x x .
        x x .
        x x x
    """))


@pytest.mark.parametrize(('rule', 'text'), [
    (AttentionRule.NEVER, '. . .\n. . .\n. . .'),
    (AttentionRule.CAUSAL, 'x . .\nx x .\nx x x'),
    (AttentionRule.CURRENT, 'x . .\n. x .\n. . x'),
    (AttentionRule.STRICT_PAST, '. . .\nx . .\nx x .'),
])
def test_each_rule_makes_its_mask(rule, text):
    layout = SequenceLayout((), (GroupLayout('obs_a', 1, (('obs_*', rule),)),), 3)
    np.testing.assert_array_equal(layout.mask(), matrix(text))


def test_the_first_matching_pattern_counts():
    rules = (('obs_a', AttentionRule.NEVER), ('obs_*', AttentionRule.CAUSAL))
    group = GroupLayout('obs_c', 1, rules)
    assert group.rule_for('obs_a') is AttentionRule.NEVER
    assert group.rule_for('obs_b') is AttentionRule.CAUSAL
    assert group.rule_for('readout_r') is AttentionRule.NEVER


def test_a_rule_that_looks_into_the_future_is_refused():
    layout = SequenceLayout((), (GroupLayout('obs_a', 1, (('*', AttentionRule.ALL),)),), 1)
    with pytest.raises(CheckpointError, match=r'causal.*obs_a'):
        layout.mask()


def test_group_mask_has_one_row_per_group_and_step():
    layout = octo({'task_l': 16, 'obs_a': 256, 'readout_r': 1}, horizon=2)
    assert layout.labels() == ['task_l', 't=0 obs_a', 't=0 readout_r', 't=1 obs_a',
                               't=1 readout_r']
    np.testing.assert_array_equal(layout.group_mask(), matrix("""
        x . . . .
        x x . . .
        x x x . .
        x x . x .
        x x x x x
    """))
