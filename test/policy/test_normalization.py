"""Statistics are found by name and turn normalised numbers into real ones."""

import json
import pathlib

import jax
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.policy.normalization import action_size
from octo_ros.policy.normalization import normalize
from octo_ros.policy.normalization import select_statistics
from octo_ros.policy.normalization import stated_type
from octo_ros.policy.normalization import unnormalize_actions

STATISTICS = {
    'mean': [1.0, 2.0, 3.0], 'std': [2.0, 4.0, 8.0],
    'p01': [-1.0, 0.0, 5.0], 'p99': [1.0, 4.0, 6.0], 'mask': [True, True, False]}


def test_the_normal_kind_scales_by_deviation_where_masked() -> None:
    actual = unnormalize_actions(np.array([[0.5, -1.0, 0.25]], np.float32), STATISTICS)
    np.testing.assert_array_equal(actual, [[2.0, -2.0, 0.25]])


def test_the_bounds_kind_maps_minus_one_to_one_onto_the_percentiles() -> None:
    actions = np.array([[-1.0, 1.0, 0.25], [1.0, 0.0, 9.0]], np.float32)
    np.testing.assert_array_equal(
        unnormalize_actions(actions, STATISTICS, 'bounds'), [[-1.0, 4.0, 0.25], [1.0, 2.0, 9.0]])


def test_numpy_and_jitted_jax_give_the_same_numbers() -> None:
    actions = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 4, 3)
    jitted = jax.jit(lambda a: unnormalize_actions(a, STATISTICS))(actions)
    np.testing.assert_allclose(jitted, unnormalize_actions(actions, STATISTICS), rtol=1e-6)


@pytest.mark.parametrize('kind', ['normal', 'bounds'])
@pytest.mark.parametrize('dataset', ['bridge_dataset', 'narrow_dataset'])
def test_unnormalised_actions_equal_the_reference(
    golden: pathlib.Path, kind: str, dataset: str
) -> None:
    folder = golden / 'tiny_lang_goal'
    data = np.load(folder / 'case_lang_and_goal.npz')
    statistics = json.loads((folder / 'ckpt/dataset_statistics.json').read_text())
    # The narrow dataset has its own samples: its dimensions were masked while they were drawn.
    # A second run of the reference's sampler differs in the last digits.
    name, tolerance = {
        'bridge_dataset': ('sample/actions', 1e-6),
        'narrow_dataset': ('sample_narrow_dataset/actions_full_dim', 2e-5)}[dataset]
    actual = unnormalize_actions(
        data[name], select_statistics(statistics, dataset)['action'], kind)
    expected = data[f'sample/actions_unnorm_{kind}/{dataset}']
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=1e-6)


def test_proprio_is_normalised_as_in_training(golden: pathlib.Path) -> None:
    data = np.load(golden / 'misc/normalize_proprio.npz')
    actual = normalize(data['raw'], {name: data[name] for name in ('mean', 'std', 'mask')})
    np.testing.assert_allclose(actual, data['normalized'], atol=1e-6)


def test_bounded_proprio_is_clipped() -> None:
    actual = normalize(np.array([0.5, 9.0, 7.0]), STATISTICS, 'bounds')
    np.testing.assert_allclose(actual, [0.5, 1.0, 7.0])


def test_a_proprio_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ParameterError, match='must have 3 numbers'):
        normalize(np.zeros(2), STATISTICS)


@pytest.mark.parametrize('key', [None, '', 'anything'])
def test_flat_statistics_need_no_key(key: str | None) -> None:
    assert select_statistics({'action': STATISTICS}, key)['action'] is STATISTICS


def test_the_only_dataset_needs_no_key() -> None:
    assert select_statistics({'droid': {'action': STATISTICS}})['action'] is STATISTICS


def test_an_ambiguous_key_is_refused_with_the_choices() -> None:
    with pytest.raises(ParameterError, match='set it to one of bridge_dataset, droid'):
        select_statistics({'bridge_dataset': {'action': {}}, 'droid': {'action': {}}})


def test_an_unknown_key_is_refused_with_the_closest() -> None:
    with pytest.raises(ParameterError, match="did you mean 'bridge_dataset'"):
        select_statistics({'bridge_dataset': {'action': {}}}, 'bridge')


def test_statistics_without_actions_are_refused() -> None:
    with pytest.raises(ParameterError, match='holds no action statistics'):
        select_statistics({})


@pytest.mark.parametrize(
    ('statistics', 'hint'),
    [
        ({'action': STATISTICS}, r"pass its \['action'\]"),
        ({'droid': {'action': STATISTICS}}, 'those of one'),
        ({}, 'got nothing'),
    ],
)
def test_the_wrong_level_of_statistics_is_refused_with_the_right_one(
    statistics: dict, hint: str
) -> None:
    with pytest.raises(ParameterError, match=hint):
        action_size(statistics)


def test_an_unknown_kind_is_refused_with_the_closest() -> None:
    with pytest.raises(ParameterError, match="did you mean 'bounds'"):
        action_size(STATISTICS, 'bound')


def test_more_statistics_than_actions_are_refused() -> None:
    with pytest.raises(ParameterError, match='at most the 2 dimensions'):
        unnormalize_actions(np.zeros((4, 2)), STATISTICS)


def test_statistics_of_unequal_length_are_refused() -> None:
    with pytest.raises(ParameterError, match='must have one length'):
        action_size({'mean': [0.0], 'std': [1.0, 1.0]})


@pytest.mark.parametrize('mask', [None, True, [[True], []], float('nan'), 'all'])
def test_a_mask_that_is_none_is_refused(mask: object) -> None:
    with pytest.raises(ParameterError, match=r"as 'mask', got|must have one length"):
        action_size({'mean': [0.0, 1.0], 'std': [1.0, 1.0], 'mask': mask})


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"must have numbers as 'mean', got \[\]"):
        action_size({'mean': [], 'std': []})


def test_a_damaged_configuration_of_the_training_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'dataset_kwargs' must be a mapping"):
        stated_type({'dataset_kwargs': [{}]})
