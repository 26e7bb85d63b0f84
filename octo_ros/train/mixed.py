"""Products in bfloat16, everything else in float32, without a change to the model.

Dense and convolution layers get their inputs and weights in bfloat16 and give float32; norms,
attention weights, losses, gradients and the optimizer stay in float32.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from octo_ros.model.vision import StdConv

_PRODUCTS = (nn.Dense, nn.DenseGeneral, nn.Conv, StdConv)


def rounded(params: Mapping[str, Any]) -> Any:
    """Returns a parameter tree in bfloat16."""
    return _cast(params, jnp.bfloat16)


def bfloat16_products() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which `module.apply` computes products in bfloat16."""
    return nn.intercept_methods(_intercept)


def _intercept(call: Callable[..., Any], args: Any, kwargs: Any,
               context: nn.module.InterceptorContext) -> Any:
    if context.method_name != '__call__' or not isinstance(context.module, _PRODUCTS):
        return call(*args, **kwargs)
    return _cast(call(*_cast(args, jnp.bfloat16), **kwargs), jnp.float32)


def _cast(tree: Any, dtype: Any) -> Any:
    def convert(leaf: Any) -> Any:
        floating = hasattr(leaf, 'dtype') and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(convert, tree)
