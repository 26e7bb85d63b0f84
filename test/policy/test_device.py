"""Compiled programs are kept between starts; without an accelerator the CPU serves."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from octo_ros.policy import device

# What the JAX of a fresh process compiles is the subject, so each test has its own processes.
COMPILE = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
import jax
heard = []
jax.monitoring.register_event_listener(lambda event, **_: heard.append(event))
from octo_ros.policy import device
device.set_up()
device.set_up()
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8))).block_until_ready()
print(jax.default_backend(), sum('cache_hits' in event for event in heard))
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, **environment}, text=True,
        capture_output=True, check=True, timeout=120)


def test_a_second_start_finds_the_programs_of_the_first(tmp_path: pathlib.Path) -> None:
    first, second = (
        run_python(COMPILE, XDG_CACHE_HOME=str(tmp_path), JAX_PLATFORMS='cpu') for _ in range(2))
    assert first.stdout.split() == ['cpu', '0']
    _, hits = second.stdout.split()
    assert int(hits) > 0
    assert any((tmp_path / 'octo_ros/compilation').iterdir())


@pytest.mark.parametrize('wanted', ['rocm', 'cuda'])
def test_an_accelerator_that_is_not_there_is_told_once_and_the_cpu_serves(
    tmp_path: pathlib.Path, wanted: str,
) -> None:
    done = run_python(COMPILE, XDG_CACHE_HOME=str(tmp_path), JAX_PLATFORMS=wanted)
    assert done.stdout.split()[0] == 'cpu'
    assert done.stderr.count('No accelerator is in use: the policy runs on the CPU') == 1
    assert re.findall(r'The wanted accelerator cannot be used \((.*)\)', done.stderr) != ['']
    assert done.stderr.count('The wanted accelerator cannot be used') == 1


@pytest.mark.parametrize('wanted', ['cuda', 'tpu'])
def test_a_checkpoint_loads_on_the_cpu_where_the_wanted_accelerator_is_not(wanted: str) -> None:
    done = run_python(
        'from octo_ros import OctoModel; import jax; '
        "OctoModel.load_pretrained('untrained'); print(jax.default_backend())",
        JAX_PLATFORMS=wanted)
    assert done.stdout.split() == ['cpu']
    assert done.stderr.count('The wanted accelerator cannot be used') == 1


def test_a_cache_that_cannot_be_written_is_told_and_nothing_else_happens(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    assert not device.keep_programs(tmp_path / 'file' / 'cache')
    assert 'cannot be kept' in caplog.text


def test_the_default_cache_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', '/elsewhere')
    assert device.default_cache() == pathlib.Path('/elsewhere/octo_ros/compilation')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert device.default_cache() == pathlib.Path.home() / '.cache/octo_ros/compilation'
