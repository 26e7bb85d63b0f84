"""Puts the parameters of a checkpoint into a model that was fitted to other data."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Float
from octo_ros.checkpoint.merge import MergeReport
from octo_ros.checkpoint.merge import flatten
from octo_ros.checkpoint.merge import merge_params
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.policy.octo_model import OctoModel
from octo_ros.train.adapt import with_pieces
from octo_ros.train.freezing import split

_HEAD = 'heads_action/'


def merged_model(base: OctoModel, config: Mapping[str, Any], example: Mapping[str, Any],
                 seed: int, begin: Callable[[Mapping[str, Any]], Mapping[str, Any]],
                 statistics: Mapping[str, Any], *, fresh_head: bool = False
                 ) -> tuple[OctoModel, MergeReport]:
    """Returns the model of a configuration with what fits of the checkpoint's parameters.

    Args:
        base: the checkpoint.
        config: of the new model.
        example: a batch of one of the data.
        seed: of fresh parameters.
        begin: changes fresh parameters before the checkpoint's come over them.
        statistics: of the data.
        fresh_head: True to take nothing of the checkpoint's action head.
    """
    without = (_HEAD,) if fresh_head else ()
    module = build_module(config['model'], params_shapes=base.params)
    example = with_pieces(example, module)
    mask = example['observation']['timestep_pad_mask']
    init = functools.partial(module.init, jax.random.key(seed))
    shapes = jax.eval_shape(init, example['observation'], example['task'], mask)['params']
    merged, report = merge_params(shapes, base.params, without=without)
    if not report.exact:
        fresh = jax.jit(init)(example['observation'], example['task'], mask)['params']
        merged, report = merge_params(begin(fresh), base.params, without=without)
    model = OctoModel(module, merged, config, example, dataset_statistics=statistics,
                      text_processor=base.text_processor)
    return model, report


def untrained(model: OctoModel, report: MergeReport, frozen: Sequence[str]) -> list[str]:
    """Returns what is fresh and stays so: the beginnings of paths that a mode does not train.

    Args:
        model: the merged model.
        report: what the merging found.
        frozen: patterns of what is not trained.
    """
    fresh = {*report.missing, *report.reshaped}
    kept = flatten(split(model.params, frozen)[1])
    return sorted({'/'.join(path.split('/')[:2]) for path in fresh & kept.keys()})


def begin_with_mean(params: Mapping[str, Any], mean: Float[np.ndarray, 'ad']) -> dict[str, Any]:
    """Lets fresh linear heads begin with the mean action, not with noise of the actions' size.

    From a few episodes noise is not unlearnt before the rest is learnt by heart.
    """
    changed = dict(params)
    for group, values in params.items():
        if 'mean_proj' in values:
            kernel, bias = values['mean_proj']['kernel'], values['mean_proj']['bias']
            changed[group] = {**values, 'mean_proj': {
                'kernel': jnp.zeros_like(kernel),
                'bias': jnp.tile(jnp.asarray(mean, bias.dtype), len(bias) // len(mean))}}
    return changed


def begin_with_places(params: Mapping[str, Any], config: Mapping[str, Any], deviation: float
                       ) -> dict[str, Any]:
    """Lets tokens of fresh proprio numbers begin with places of deviation 1, and smaller numbers.

    A layer norm follows: of a number that is large beside its place only the sign would be left,
    and one that is small comes out nearly in proportion.
    """
    changed = dict(params['octo_transformer'])
    tokenizers = config['model']['observation_tokenizers'] if deviation else {}
    for name, spec in tokenizers.items():
        if spec['name'] != 'LowdimObsTokenizer' or spec['kwargs'].get('discretize'):
            continue
        for part, wanted in (('projection', deviation), ('pos_embedding', 1.0)):
            changed[f'obs_{name}_{part}'] = jax.tree.map(
                lambda leaf, wanted=wanted: leaf * (wanted / jnp.maximum(jnp.std(leaf), 1e-6)),
                changed[f'obs_{name}_{part}'])
    return {**params, 'octo_transformer': changed}
