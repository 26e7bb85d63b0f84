"""Tests of holding a loaded parameter tree against the wanted one."""

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.checkpoint.merge import merge_params

TARGET = {
    'head': {'bias': jax.ShapeDtypeStruct((2,), jnp.float32)},
    'stem': {
        'kernel': jax.ShapeDtypeStruct((3, 4), jnp.float32),
        'scale': jax.ShapeDtypeStruct((4,), jnp.float32)},
}


def test_equal_trees_are_copied_whole():
    loaded = {
        'stem': {'scale': np.ones(4, np.float32), 'kernel': np.zeros((3, 4), np.float32)},
        'head': {'bias': np.zeros(2, np.float32)}}
    merged, report = merge_params(TARGET, loaded)
    assert report.exact
    assert report.copied == 3
    assert report.text() == ''
    assert merged['stem']['kernel'] is loaded['stem']['kernel']
    assert jax.tree.structure(merged) == jax.tree.structure(TARGET)


def test_what_is_to_be_fresh_is_not_copied_though_it_fits():
    loaded = {'stem': {'scale': np.ones(4)}, 'head': {'bias': np.zeros(2)}}
    merged, report = merge_params(TARGET, loaded, without=('head/',))
    assert merged['head'] == TARGET['head']
    assert report.text().splitlines() == [
        '  - head/bias (2,)', '  + head/bias (2,)', '  - stem/kernel (3, 4)']


def test_differences_are_listed_by_path_with_minus_and_plus():
    loaded = {
        'stem': {'kernel': np.zeros((3, 5), np.float32), 'scale': np.ones(4, np.float32)},
        'extra': {'bias': np.zeros(7, np.float32)}}
    merged, report = merge_params(TARGET, loaded)
    assert not report.exact
    assert report.copied == 1
    assert report.text().splitlines() == [
        '  + extra/bias (7,)',
        '  - head/bias (2,)',
        '  - stem/kernel (3, 4)',
        '  + stem/kernel (3, 5)']
    assert merged['stem']['kernel'] is TARGET['stem']['kernel']


def test_a_long_list_of_differences_is_cut():
    _, report = merge_params({}, {str(i): np.zeros(1) for i in range(50)})
    lines = report.text(limit=5).splitlines()
    assert len(lines) == 6
    assert lines[-1] == '  … and 45 more'


def test_what_the_file_lacks_keeps_the_values_of_the_target():
    target = {'old': np.full(2, 3.0, np.float32), 'new': np.full(2, 4.0, np.float32)}
    merged, report = merge_params(target, {'old': np.zeros(2, np.float32)})
    np.testing.assert_array_equal(merged['old'], [0, 0])
    np.testing.assert_array_equal(merged['new'], [4, 4])
    assert [*report.missing] == ['new']


def test_parameters_take_the_data_type_of_the_model_and_one_line_says_so(caplog):
    loaded = {'a': jnp.ones(2, jnp.bfloat16), 'b': jnp.ones(2, jnp.bfloat16)}
    wanted = dict.fromkeys('ab', jax.ShapeDtypeStruct((2,), jnp.float32))
    merged, report = merge_params(wanted, loaded)
    (record,) = caplog.records
    assert '2 from bfloat16 to float32' in record.getMessage()
    assert report.exact
    assert merged['a'].dtype == jnp.float32
