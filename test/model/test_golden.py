"""Every golden folder, every case: the numbers of the reference implementation."""

import json

import jax
import numpy as np
import pytest
from flax import traverse_util

LANGUAGE = ('lang_and_goal', 'lang', 'lang_first_step_padded')
CASES = {
    'tiny_lang_goal': (*LANGUAGE, 'goal', 'goal_primary_only', 'no_wrist_obs',
                       'obs_pad_mask_dict', 'window1', 'window4', 'no_language_key',
                       'no_pad_mask_dicts', 'sample_shape3'),
    'tiny_lang_goal_norepeat': LANGUAGE,
    'tiny_v1_attention': LANGUAGE,
    'tiny_proprio_l1': ('lang', 'lang_first_step_padded', 'no_proprio', 'obs_pad_mask_dict'),
    'tiny_three_cam_mse': ('goal', 'goal_instruction_only', 'goal_first_step_padded',
                           'no_secondary_obs'),
    'tiny_three_cam_unsorted': ('goal',),
    'tiny_discrete': LANGUAGE,
    'tiny_discrete_horizon': LANGUAGE,
    'tiny_discrete_map': LANGUAGE,
    'tiny_film': LANGUAGE,
    'tiny_patch_film': LANGUAGE,
    'tiny_resnet_film': LANGUAGE,
}
LOSSES = {
    'tiny_lang_goal': LANGUAGE[::2],
    'tiny_lang_goal_norepeat': LANGUAGE[::2],
    'tiny_v1_attention': LANGUAGE[::2],
    'tiny_proprio_l1': ('lang',),
    'tiny_three_cam_mse': ('goal',),
    'tiny_discrete': LANGUAGE[::2],
    'tiny_discrete_horizon': LANGUAGE[::2],
    'tiny_discrete_map': LANGUAGE[::2],
    'tiny_film': ('lang_and_goal',),
    'tiny_patch_film': ('lang_and_goal',),
    'tiny_resnet_film': ('lang_and_goal',),
}
# One case per order of groups: the others have that of the first case of their folder.
ORDERS = {name: [case for case in cases if case == cases[0] or case.startswith(('no_', 'window'))]
          for name, cases in CASES.items()}
TOKENS = {'atol': 2e-5, 'rtol': 1e-4}
EPS = {'atol': 1e-4, 'rtol': 0}
ACTIONS = {'atol': 1e-3, 'rtol': 0}


def pairs(table):
    return [pytest.param(name, case, id=f'{name}-{case}')
            for name, cases in table.items() for case in cases]


every_case = pytest.mark.parametrize(('name', 'case'), pairs(CASES))
every_loss = pytest.mark.parametrize(('name', 'case'), pairs(LOSSES))
every_folder = pytest.mark.parametrize('name', CASES)


def compare(found, wanted, tolerance):
    np.testing.assert_allclose(np.asarray(found), wanted, **tolerance)


def keys_under(data, prefix):
    return {key: key.removeprefix(prefix) for key in data if key.startswith(prefix)}


@every_folder
def test_all_files_of_the_folder_are_covered(folder, name):
    files = {path.stem for path in folder(name).path.glob('*.npz')}
    assert files == {f'case_{case}' for case in CASES[name]} | {
        f'loss_{case}' for case in LOSSES.get(name, ())}


@every_folder
def test_parameter_tree_has_the_reference_paths_shapes_and_types(folder, name):
    tiny = folder(name)
    inputs = tiny.inputs(f'case_{CASES[name][0]}')
    observations = inputs['observations']
    found = jax.eval_shape(lambda: tiny.module.init(
        jax.random.key(0), observations, inputs['tasks'], observations['timestep_pad_mask']))
    found = {path: {'shape': list(leaf.shape), 'dtype': str(leaf.dtype)}
             for path, leaf in traverse_util.flatten_dict(found['params'], sep='/').items()}
    assert found == json.loads((tiny.path / 'params.json').read_text())


@every_case
def test_tokenizers_give_the_reference_tokens(folder, name, case):
    data = folder(name).data(f'case_{case}')
    _, _, inner = folder(name).case(case)
    keys = keys_under(data, 'tokenizer/')
    assert keys
    for key, path in keys.items():
        tokenizer, _, part = path.rpartition('/')
        group = inner[f'octo_transformer/{tokenizer}']
        if part == 'mask':
            np.testing.assert_array_equal(group.mask, data[key])
        else:
            compare(group.tokens, data[key], TOKENS)


@every_case
def test_sequence_and_attention_mask_are_the_reference(folder, name, case):
    data = folder(name).data(f'case_{case}')
    _, _, inner = folder(name).case(case)
    compare(inner['octo_transformer/BlockTransformer_0/input'], data['transformer/input'], TOKENS)
    mask = np.asarray(inner['octo_transformer/BlockTransformer_0/attention_mask'])
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, data['transformer/attention_mask'])


@pytest.mark.parametrize(('name', 'case'), pairs(ORDERS))
def test_groups_stand_in_the_reference_order(folder, name, case):
    tiny = folder(name)
    data = tiny.data(f'case_{case}')
    inputs = tiny.inputs(f'case_{case}')
    observations = inputs['observations']
    layout = tiny.module.layout(observations, inputs['tasks'], observations['timestep_pad_mask'])
    assert [group.name for group in layout.groups] == data['transformer/group_names'].tolist()
    assert [group.size for group in layout.groups] == data['transformer/group_sizes'].tolist()
    assert layout.length == data['transformer/input'].shape[1]


@every_case
def test_groups_go_in_with_the_reference_masks_and_tokens(folder, name, case):
    data = folder(name).data(f'case_{case}')
    outputs, _, inner = folder(name).case(case)
    sequence = inner['octo_transformer/BlockTransformer_0/input']
    at = 0
    for group, size in zip(data['transformer/group_names'], data['transformer/group_sizes'],
                           strict=True):
        mask = data[f'group_in/{group}/mask']
        np.testing.assert_array_equal(outputs[group].mask, mask)
        if group.startswith('task_'):
            if f'group_in/{group}/tokens' in data:
                compare(sequence[:, at:at + size], data[f'group_in/{group}/tokens'], TOKENS)
            at += size


@every_case
def test_transformer_gives_the_reference_embeddings(folder, name, case):
    data = folder(name).data(f'case_{case}')
    outputs, _, inner = folder(name).case(case)
    for key, path in keys_under(data, 'transformer_out/').items():
        group, part = path.split('/')
        if part == 'mask':
            np.testing.assert_array_equal(outputs[group].mask, data[key])
        else:
            compare(outputs[group].tokens, data[key], TOKENS)
    for key, block in keys_under(data, 'transformer/block/').items():
        compare(inner[f'octo_transformer/BlockTransformer_0/Transformer_0/{block}'], data[key],
                TOKENS)


@every_case
def test_single_layers_give_the_reference_outputs(folder, name, case):
    data = folder(name).data(f'case_{case}')
    _, _, inner = folder(name).case(case)
    for key, path in keys_under(data, 'debug/').items():
        parent = 'BlockTransformer_0/' if path.startswith('Transformer_0') else ''
        found = inner[f'octo_transformer/{parent}{path}']
        found = getattr(found, 'tokens', found)
        if data[key].dtype.kind == 'i':  # the reference noted the bin, not its one-hot token
            found = found.argmax(-1)
        # Convolutions reach tens, and rounding grows with them; TOKENS is for values up to 4.
        scale = max(1.0, np.abs(data[key]).max() / 4)
        compare(found, data[key], {'atol': 2e-5 * scale, 'rtol': 1e-4})


@every_case
def test_head_gives_the_reference_outputs(folder, name, case):
    data = folder(name).data(f'case_{case}')
    _, head, inner = folder(name).case(case)
    if 'head/map_embedding' in data:
        compare(inner['heads_action/map_head'], data['head/map_embedding'], TOKENS)
    else:
        compare(head['mean_embedding'], data['head/mean_embedding'], TOKENS)
    if 'head/output' in data:
        compare(head['output'], data['head/output'], TOKENS)


@every_case
def test_sampled_actions_are_the_reference(folder, name, case):
    data = folder(name).data(f'case_{case}')
    _, head, _ = folder(name).case(case)
    if 'sample/eps_pred' in data:
        for key, actions in (('sample', 'actions'), ('sample_narrow_dataset', 'actions_full_dim')):
            compare(head[f'{key}/eps_pred'], data[f'{key}/eps_pred'], EPS)
            compare(head[f'{key}/x'], data[f'{key}/x'], ACTIONS)
            compare(head[f'{key}/actions'], data[f'{key}/{actions}'], ACTIONS)
    elif 'sample/gumbel' in data:
        compare(head['actions'], data['sample/actions_argmax'], TOKENS)
        compare(head['actions_t0.7'], data['sample/actions_t0.7'], TOKENS)
    else:
        compare(head['actions'], data['sample/actions'], TOKENS)


@every_loss
def test_loss_and_metrics_are_the_reference(folder, name, case):
    data = folder(name).data(f'loss_{case}')
    loss, metrics, _ = folder(name).loss(case)
    compare(loss, data['loss/value'], {'rtol': 1e-4})
    wanted = keys_under(data, 'loss/metrics/')
    assert set(metrics) == set(wanted.values())
    for key, metric in wanted.items():
        compare(metrics[metric], data[key], {'rtol': 1e-4})


@every_loss
def test_gradients_are_the_reference(folder, name, case):
    data = folder(name).data(f'loss_{case}')
    _, _, grads = folder(name).loss(case)
    overall = data['grad/global_norm']
    assert set(grads) == set(data['grad/param_names'])
    for path, norm in zip(data['grad/param_names'], data['grad/l2_norm'], strict=True):
        slack = 1e-3 * norm + 1e-5 * overall
        assert abs(np.linalg.norm(grads[path]) - norm) <= slack, path
        if 'hf_model' in path:
            assert not np.any(grads[path]), path
    for key, path in keys_under(data, 'grad/full/').items():
        slack = 1e-3 * np.linalg.norm(data[key]) + 1e-5 * overall
        assert np.linalg.norm(grads[path] - data[key]) <= slack, path
