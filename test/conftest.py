"""Fixtures that all tests share."""

import os
import pathlib

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

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
