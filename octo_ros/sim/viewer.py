"""A window onto the simulated scene, with MuJoCo's own viewer: turn it with the mouse."""

import os
import threading
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.sim import gl
from octo_ros.sim import scene

NO_DISPLAY = (
    'a window needs a display, but neither DISPLAY nor WAYLAND_DISPLAY is set; start this on a '
    'desktop or through `ssh -X`, or leave the window away')
_END_TIMEOUT_S = 5.0
_DISTANCE = 1.3  # of the eye from the middle of the table [m]
_AZIMUTH, _ELEVATION = 150.0, -28.0  # [degree]


def check_display() -> None:
    """Raises ParameterError where no window can be opened."""
    if not gl.display_works():
        raise ParameterError(NO_DISPLAY)


class Viewer:
    """The window. It may be closed at any time; the simulation goes on."""

    def __init__(self, model: Any, data: Any) -> None:
        """Opens the window for a mujoco.MjModel and its mujoco.MjData.

        Raises:
            ParameterError: there is no display, or it refuses.
        """
        check_display()
        gl.load_mujoco()
        # MuJoCo reads how to draw off screen when it is imported, so this comes after.
        import glfw
        import mujoco.viewer

        if not glfw.init():  # launch_passive would wait for ever
            raise ParameterError(
                f"a window must open on the display '{os.environ.get('DISPLAY', '')}', it does "
                'not; leave the window away')
        others = set(threading.enumerate())
        self._handle = mujoco.viewer.launch_passive(
            model, data, show_left_ui=False, show_right_ui=False)
        self._threads = set(threading.enumerate()) - others
        with self._handle.lock():
            camera = self._handle.cam
            camera.lookat[:] = scene.PRIMARY_TARGET
            camera.distance, camera.azimuth, camera.elevation = _DISTANCE, _AZIMUTH, _ELEVATION

    def show(self) -> None:
        """Shows the present state; does nothing once the window is closed."""
        if self._handle.is_running():
            self._handle.sync()

    def close(self) -> None:
        """Closes the window; a second call does nothing."""
        self._handle.close()
        for thread in self._threads:  # they draw by what would be freed under them
            thread.join(_END_TIMEOUT_S)
