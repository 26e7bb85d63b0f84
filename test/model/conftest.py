"""The golden folders: their models, and everything their cases ask for, computed once.

A case runs in three compiled stages (tokenize, attend, head), which cases of the same shapes
share: compiling is what takes the time here.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.model.heads.base import read_group
from octo_ros.model.heads.diffusion import DiffusionActionHead
from octo_ros.model.octo import OctoModule
from octo_ros.policy.compiling import with_precision

UNREAD = ('in/tasks/timestep', 'in/tasks/pad_mask_dict/timestep')  # no tokenizer reads these
NARROW_DIM = 6


def _once(method: Any) -> Any:
    """Keeps what a method returned for its argument, as long as its object lives."""
    @functools.wraps(method)
    def kept(self: Any, key: str) -> Any:
        if (method, key) not in self.kept:
            self.kept[method, key] = method(self, key)
        return self.kept[method, key]

    return kept


@dataclasses.dataclass(frozen=True, eq=False)
class GoldenFolder:
    """One folder: its model and parameters."""

    path: pathlib.Path
    module: OctoModule
    params: Mapping[str, Any]
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @_once
    def data(self, name: str) -> dict[str, np.ndarray]:
        """Returns the arrays of a file by their names."""
        with np.load(self.path / f'{name}.npz') as file:
            return dict(file)

    def inputs(self, name: str) -> dict[str, Any]:
        """Returns observations, tasks and what else a file has under `in`."""
        data = {key: value for key, value in self.data(name).items() if key not in UNREAD}
        return _nested(data, 'in/')

    @_once
    def case(self, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Returns embeddings, head outputs and intermediates by path of a case."""
        inputs = self.inputs(f'case_{name}')
        observations = inputs['observations']
        variables = {'params': self.params}
        groups, inner = self._stage('tokenize')(
            variables, observations, inputs['tasks'], observations['timestep_pad_mask'])
        outputs, attended = self._stage('attend')(variables, groups)
        head = self.module.heads['action']
        data = self.data(f'case_{name}')
        results, pooled = _head_stage(head)(
            {'params': self.params['heads_action']},
            {head.readout_key: outputs[head.readout_key]},
            {key: _nested(data, f'{key}/') for key in ('sample', 'sample_narrow_dataset')})
        return outputs, results, {**_by_path(inner), **_by_path(attended),
                                  **_by_path({'heads_action': pooled['intermediates']})}

    @_once
    def loss(self, name: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Returns loss, metrics and gradients by parameter path of a loss file."""
        inputs = self.inputs(f'loss_{name}')
        injected = _nested(self.data(f'loss_{name}'), 'loss/')
        injected = {key: injected[key] for key in ('time', 'noise') if key in injected}
        (loss, metrics), grads = self._gradient(
            self.params, inputs['observations'], inputs['tasks'], inputs['action'],
            inputs['action_pad_mask'], injected)
        return loss, metrics, traverse_util.flatten_dict(grads, sep='/')

    @_once
    def _stage(self, method: str) -> Any:
        return _capturing(self.module, method)

    @functools.cached_property
    def _gradient(self) -> Any:
        def loss(params, observations, tasks, actions, action_pad_mask, injected):
            return self.module.apply(
                {'params': params}, observations, tasks, actions,
                observations['timestep_pad_mask'], action_pad_mask, method='loss', **injected)

        return jax.jit(with_precision(jax.value_and_grad(loss, has_aux=True)))


def _capturing(module: nn.Module, method: Any) -> Any:
    return jax.jit(with_precision(functools.partial(
        module.apply, method=method, mutable=['intermediates'], capture_intermediates=True)))


@functools.cache
def _head_stage(head: nn.Module) -> Any:
    return _capturing(head, _diffusion if isinstance(head, DiffusionActionHead) else _direct)


def _direct(head: Any, outputs: Any, samples: Any) -> dict[str, Any]:
    results = {'output': head(outputs), 'actions': head.predict_action(outputs, argmax=True),
               'mean_embedding': read_group(outputs, head.readout_key).tokens.mean(-2)}
    if 'gumbel' in samples['sample']:
        results['actions_t0.7'] = head.predict_action(
            outputs, noise=samples['sample']['gumbel'], temperature=0.7)
    return results


def _diffusion(head: DiffusionActionHead, outputs: Any, samples: Any) -> dict[str, Any]:
    embedding = head.embed(outputs)
    results = {'mean_embedding': embedding}
    for key, active in (('sample', None), ('sample_narrow_dataset', NARROW_DIM)):
        initial, steps, xs = (samples[key][name] for name in ('noise_init', 'noise_steps', 'x'))
        before = jnp.concatenate([initial[None], xs[:-1]])
        times = jnp.arange(len(xs) - 1, -1, -1).reshape(-1, *[1] * (before.ndim - 1))
        results[f'{key}/eps_pred'] = head(
            outputs, jnp.broadcast_to(times, (*before.shape[:-1], 1)), before)
        results[f'{key}/x'] = head.denoise(embedding, initial, steps, active)[1]
        results[f'{key}/actions'] = head.predict_action(
            outputs, noise=(initial, steps), embodiment_action_dim=active)
    return results


def _by_path(state: Mapping[str, Any]) -> dict[str, Any]:
    flat = traverse_util.flatten_dict(state.get('intermediates', state), sep='/')
    return {key.removesuffix('/__call__'): _first(value) for key, value in flat.items()}


def _nested(data: Mapping[str, np.ndarray], prefix: str) -> dict[str, Any]:
    flat = {key.removeprefix(prefix): value for key, value in data.items()
            if key.startswith(prefix)}
    return traverse_util.unflatten_dict(flat, sep='/')


def _first(value: Any) -> Any:
    while isinstance(value, tuple):
        value = value[0]
    return value


@functools.cache
def _load(path: pathlib.Path) -> GoldenFolder:
    config = json.loads((path / 'ckpt/config.json').read_text())
    blob = (path / 'ckpt/300000/default/checkpoint').read_bytes()
    params = flax.serialization.msgpack_restore(blob)
    return GoldenFolder(path, build_module(config['model'], params_shapes=params), params)


@pytest.fixture(scope='session')
def folder(golden: pathlib.Path) -> Any:
    """Returns a golden folder by its name."""
    return lambda name: _load(golden / name)
