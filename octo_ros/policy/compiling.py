"""Compiles what an inference runs: exact unless told otherwise, and soon ready on a GPU.

On NVIDIA GPUs JAX's default for products of matrices is TensorFloat-32, with 10 bits of fraction
in place of 23. The numbers of the reference implementation, made on a CPU, are then missed in the
third digit.

For products in float32 XLA compiles and tries many kernels of Triton there, and one of cuBLAS.
Without Triton's a first start of Octo-Small took 12 s on an H100 in place of 43 s, and an
inference as long as before; the option stood in XLA_FLAGS then (doc/benchmarks.md).
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

FLOAT32 = 'float32'
DEFAULT = 'default'
PRECISIONS = (FLOAT32, DEFAULT)
_TRITON = 'xla_gpu_enable_triton_gemm'


def compiler_options() -> dict[str, bool]:
    """Returns options for XLA on the device in use; what the user has set in XLA_FLAGS stays."""
    if jax.default_backend() != 'gpu' or _TRITON in os.environ.get('XLA_FLAGS', ''):
        return {}
    return {_TRITON: False}


def compiled(function: Callable[..., Any], precision: str = '') -> Any:
    """Returns `jax.jit` of a function, for inference; not to be called within another `jax.jit`.

    Args:
        function: what computes.
        precision: see `with_precision`.
    """
    return jax.jit(with_precision(function, precision), compiler_options=compiler_options())


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
