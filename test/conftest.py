"""Fixtures that all tests share."""

import importlib.metadata
import os
import pathlib

import hypothesis
import pytest

# How long one example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile('any machine', deadline=None)
hypothesis.settings.load_profile('any machine')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Most of a test's time goes into compiling; this halves it.
_QUICK = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
if importlib.metadata.version('jaxlib').startswith('0.10.'):
    # Others may lack this option, and end the process when they find one that they do not know.
    _QUICK += ' --xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('XLA_FLAGS', _QUICK)

_SHARED = pathlib.Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
    """The folder of reference data beside the repository; skips where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip('the reference data in ../shared is not on this machine')
    return _SHARED


@pytest.fixture(scope='session')
def golden(shared: pathlib.Path) -> pathlib.Path:
    """Numbers that the reference implementation produced."""
    return shared / 'golden'


# The longest first, as measured: at the end the short ones fill the time of both processes.
_LONG = ('train/test_loop.py', 'train/test_adapt.py', 'cli/test_replay_recordings.py',
         'cli/test_replay.py', 'cli/test_train_to_eval.py', 'nodes/test_process.py',
         'cli/test_eval.py', 'cli/test_finetune.py', 'train/test_step.py', 'cli/test_demo.py')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take long before the others; within a file nothing moves."""
    folder = pathlib.Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(folder).as_posix()
        return _LONG.index(name) if name in _LONG else len(_LONG)

    items.sort(key=rank)
