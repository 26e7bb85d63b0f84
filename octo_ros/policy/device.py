"""Which device the model runs on, how much of its memory it takes, and where programs are kept."""

import functools
import logging
import os
import pathlib

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache

_LOGGER = logging.getLogger('octo_ros.policy.device')
# What JAX raises for an accelerator that is not there: for some with a text, for CUDA without.
UNUSABLE = (RuntimeError, AssertionError)
# Not 'off': YAML reads that as false, and so does the command line of ROS.
NO_CACHE = 'none'


def set_up(*, gpu_memory_fraction: float = 0.0, compilation_cache: str = '') -> None:
    """Prepares JAX; call it before anything is put on a device.

    Args:
        gpu_memory_fraction: part of a GPU's memory to reserve at start; 0 takes memory as needed.
        compilation_cache: folder for compiled programs, '' for the default one, 'none' for none.
    """
    # XLA reads these when it first opens the device; what the user has set stays.
    os.environ.setdefault(
        'XLA_PYTHON_CLIENT_PREALLOCATE', 'true' if gpu_memory_fraction else 'false')
    if gpu_memory_fraction:
        os.environ.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', str(gpu_memory_fraction))
    _open_device()
    if compilation_cache != NO_CACHE:
        keep_programs(pathlib.Path(compilation_cache or default_cache()))


def default_cache() -> pathlib.Path:
    """Returns the user's folder for compiled programs."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.join('~', '.cache')
    return pathlib.Path(base).expanduser() / 'octo_ros' / 'compilation'


def keep_programs(folder: pathlib.Path) -> bool:
    """Lets JAX keep compiled programs in a folder, so that the next start need not compile.

    Returns:
        False when the folder cannot be written; programs are then compiled at every start.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        _LOGGER.warning(
            'Compiled programs cannot be kept in %s: it must be a folder that can be written; '
            "set 'compilation_cache' to one, or to '%s'.", folder, NO_CACHE)
        return False
    jax.config.update('jax_compilation_cache_dir', str(folder))
    # JAX decides once whether it has a cache; programs may have been compiled before this.
    jax_cache.reset_cache()
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
    return True


@functools.lru_cache(maxsize=1)
def backend() -> str:
    """Returns the backend in use; takes the CPU where the wanted accelerator cannot be used."""
    try:
        return jax.default_backend()
    except UNUSABLE as error:
        _LOGGER.warning('The wanted accelerator cannot be used (%s).', why_unusable(error))
        jax.config.update('jax_platforms', 'cpu')
        return jax.default_backend()


def why_unusable(error: Exception) -> str:
    """Returns in one line why JAX has no such accelerator, which it does not always say."""
    wanted = getattr(jax.config, 'jax_platforms', None)
    return (str(error) or f"jaxlib has none for JAX_PLATFORMS='{wanted}'").splitlines()[0]


@functools.lru_cache(maxsize=1)
def _open_device() -> None:
    """Opens the default device; without an accelerator says so once and takes the CPU."""
    if backend() == 'cpu':
        _LOGGER.warning('No accelerator is in use: the policy runs on the CPU.')
    else:
        _LOGGER.info('The policy runs on %s.', jax.devices()[0].device_kind)
