"""The window onto the scene, on a display that Xvfb makes."""

import os
import shutil
import subprocess
import sys

import pytest

from octo_ros.errors import ParameterError
from octo_ros.sim.viewer import check_display

SHOW = """
from octo_ros.sim.simulator import Simulator
sim = Simulator(seed=3)
window = sim.window()
before = sim.render('primary')
for _ in range(5):
    sim.advance(0.02)
    window.show()
sim.reset(4)
window.show()
assert (sim.render('primary') != before).any()
window.close()
window.show()
window.close()
sim.close()
print('shown')
"""


def run(*command, **environment):
    return subprocess.run(
        [*command, sys.executable, '-c', SHOW], check=False, capture_output=True, text=True,
        env={**{name: value for name, value in os.environ.items()
                if name not in ('DISPLAY', 'WAYLAND_DISPLAY')}, **environment})


def test_without_a_display_the_reason_is_told(monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(ParameterError, match='DISPLAY'):
        check_display()


def test_a_display_that_refuses_does_not_hang(sim):
    result = run(DISPLAY=':7654')
    assert "must open on the display ':7654'" in result.stderr


@pytest.mark.skipif(not shutil.which('xvfb-run'), reason='Xvfb is not installed')
def test_a_window_opens_follows_a_reset_and_closes(drawing_sim):
    result = run('xvfb-run', '-a')
    assert result.stdout.strip() == 'shown', result.stderr
    assert result.returncode == 0
