"""The script by which `make demo` gets a software renderer, where nothing is installed by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from octo_ros.sim import gl

SCRIPT = Path(__file__).resolve().parent.parent / 'scripts' / 'install_renderer.sh'


def run(**environment):
    return subprocess.run([SCRIPT, sys.executable], check=False, capture_output=True, text=True,
                          env={**os.environ, **environment})


@pytest.mark.skipif(bool(gl.problem()), reason='this machine cannot draw')
def test_nothing_is_said_or_done_where_the_simulator_can_draw():
    result = run()
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')


def test_without_apt_it_is_told_what_to_install(tmp_path):
    result = run(MUJOCO_GL='disable', PATH=str(tmp_path))
    assert result.returncode == 0
    assert 'libosmesa6' in result.stdout
