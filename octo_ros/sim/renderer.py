"""Draws the cameras' views off screen, as cheaply as MuJoCo can.

Shadows, reflections, fog and multisampling are off, and one OpenGL context serves all views. A
context belongs to the thread that made it: make and use a Renderer in one thread.
"""

import atexit
import weakref
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.sim import scene
from octo_ros.sim.gl import load_mujoco
from octo_ros.sim.gl import open_context

DEFAULT_SIZES = {'primary': 256, 'wrist': 128}
_MAX_SIZE = 640
_MAX_GEOMS = 200
_HIDDEN_GROUP = 3  # shapes that are only touched
_open: 'weakref.WeakSet[Renderer]' = weakref.WeakSet()


class Renderer:
    """Views of a scene's cameras as arrays; close it, or use it in a `with` statement."""

    def __init__(self, model: Any, *, shadows: bool = False) -> None:
        """Opens an OpenGL context for a mujoco.MjModel.

        Raises:
            ParameterError: this machine cannot draw; the text says what to install.
        """
        mujoco = self._mujoco = load_mujoco()
        self._model = model
        self._context, self._mjr = open_context(model, _MAX_SIZE)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._mjr)
        self._mjr.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        for flag in ('SHADOW', 'REFLECTION', 'FOG', 'HAZE', 'SKYBOX'):
            on = shadows and flag == 'SHADOW'
            self._scene.flags[getattr(mujoco.mjtRndFlag, f'mjRND_{flag}')] = on
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = True
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_HIDDEN_GROUP] = 0
        self._perturbation = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        if not _open:
            # MuJoCo closes its EGL display at exit; what is registered later runs earlier.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _open.add(self)

    def __enter__(self) -> 'Renderer':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(
            self, data: Any, camera: str, size: int | None = None,
    ) -> UInt8[np.ndarray, 's s 3']:
        """Returns the view of a camera as RGB.

        Args:
            data: the mujoco.MjData to show.
            camera: `primary` or `wrist`.
            size: height and width [pixel]; by default that of DEFAULT_SIZES.

        Raises:
            ParameterError: the camera is unknown, or the size is out of range.
        """
        if camera not in scene.CAMERAS:
            raise ParameterError(
                f"camera must be one of {', '.join(scene.CAMERAS)}, got '{camera}'"
                f'{closest(camera, scene.CAMERAS)}')
        size = DEFAULT_SIZES[camera] if size is None else size
        if not 1 <= size <= _MAX_SIZE:
            raise ParameterError(f'image size must lie in 1..{_MAX_SIZE}, got {size}')
        mujoco = self._mujoco
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturbation, self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)
        self._context.make_current()
        view = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(view, self._scene, self._mjr)
        pixels = np.empty((size, size, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, view, self._mjr)
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Frees the OpenGL context; a second call does nothing."""
        _open.discard(self)
        if self._mjr is not None:
            self._context.make_current()
            self._mjr.free()
            self._mjr = None
            self._context = None  # its destructor frees it; at exit that would be too late


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()
