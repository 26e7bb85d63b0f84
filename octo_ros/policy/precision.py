"""How exact products of matrices are: on a GPU JAX rounds their inputs unless it is told not to.

On NVIDIA GPUs JAX's default is TensorFloat-32, with 10 bits of fraction in place of 23. The
numbers of the reference implementation, made on a CPU, are then missed in the third digit.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

FLOAT32 = 'float32'
DEFAULT = 'default'
PRECISIONS = (FLOAT32, DEFAULT)


def with_precision(function: Callable[..., Any], precision: str = '') -> Callable[..., Any]:
    """Returns the function, its products of matrices computed in a given precision.

    To be wrapped by `jax.jit`: what counts is the precision when the function is traced.

    Args:
        function: what computes.
        precision: one of PRECISIONS; empty for float32, unless `jax_default_matmul_precision` is
            set.
    """
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        told = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        with jax.default_matmul_precision(precision or told or FLOAT32):
            return function(*args, **kwargs)

    return wrapped
