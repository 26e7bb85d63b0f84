"""Chooses how MuJoCo draws without a display, before MuJoCo is imported.

MuJoCo reads the environment variable MUJOCO_GL once, at import. Where the user has not set it,
the first back end that answers is taken: EGL (a GPU, or Mesa on the CPU), then OSMesa (CPU only).
"""

import ctypes
import ctypes.util
import functools
import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from octo_ros.errors import ParameterError

_MAX_DEVICES = 16
_EGL_PLATFORM_DEVICE = 0x313F  # EGL_EXT_platform_device
NO_BACKEND = (
    "the simulator must draw off screen, but OpenGL cannot be used (MUJOCO_GL is '{chosen}'); "
    'install a software renderer with `sudo apt-get install libosmesa6` or `sudo apt-get install '
    'libegl1 libgl1-mesa-dri`, and leave MUJOCO_GL unset to have it found')
NO_MUJOCO = (
    'the simulator must have the Python packages mujoco and gym-aloha, but {missing} was not '
    "found; install them with `pip install 'octo_ros[sim]'`, and from Python 3.13 on `pip install "
    '--no-deps gym-aloha`, too: files of it are read, nothing of it is run')


@functools.cache
def load_mujoco() -> ModuleType:
    """Imports MuJoCo with a back end that can draw on this machine, and returns the module.

    Where none is found, MuJoCo comes without drawing: physics still runs, and `open_context`
    says what to install.

    Raises:
        ParameterError: MuJoCo is not installed.
    """
    if importlib.util.find_spec('mujoco') is None:
        raise ParameterError(NO_MUJOCO.format(missing='mujoco'))
    if 'mujoco' not in sys.modules and not os.environ.get('MUJOCO_GL'):
        os.environ['MUJOCO_GL'] = backend()
    return importlib.import_module('mujoco')


def open_context(model: Any, size: int) -> tuple[Any, Any]:
    """Opens an OpenGL context for pictures of up to size x size pixels and makes it current.

    Returns:
        The mujoco.GLContext, and the mujoco.MjrContext that holds the model's meshes.

    Raises:
        ParameterError: there is no back end, or the one in MUJOCO_GL does not work.
    """
    mujoco = load_mujoco()
    chosen = os.environ.get('MUJOCO_GL') or backend()
    works = _PROBES.get(chosen)
    if works is None or not works():
        raise ParameterError(NO_BACKEND.format(chosen=chosen))
    try:
        # Not mujoco.GLContext: that is fixed by whoever imported MuJoCo first.
        context = importlib.import_module(f'mujoco.{chosen}').GLContext(size, size)
        context.make_current()
        meshes = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
    except Exception as error:  # each back end has its own kinds of errors
        raise ParameterError(NO_BACKEND.format(chosen=chosen)) from error
    return context, meshes


def problem() -> str:
    """Returns why nothing can be drawn on this machine and what to do; empty where it can."""
    for package in ('mujoco', 'gym_aloha'):
        if importlib.util.find_spec(package) is None:
            return NO_MUJOCO.format(missing=package)
    chosen = os.environ.get('MUJOCO_GL') or backend()
    works = _PROBES.get(chosen)
    return '' if works is not None and works() else NO_BACKEND.format(chosen=chosen)


def backend() -> str:
    """Returns the back end that works here: `egl`, `osmesa` (`glfw` off Linux) or `disable`."""
    if sys.platform != 'linux':
        return 'glfw'
    if egl_works():
        return 'egl'
    return 'osmesa' if osmesa_works() else 'disable'


def egl_works() -> bool:
    """True when the EGL library finds a device that can be opened.

    The library alone is not enough: without a driver (libgl1-mesa-dri) it lists no device.
    """
    egl = _library('EGL', 'libEGL.so.1')
    if egl is None:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    pointers = [egl.eglGetProcAddress(name)
                for name in (b'eglQueryDevicesEXT', b'eglGetPlatformDisplayEXT')]
    if not all(pointers):
        return False
    query = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(pointers[0])
    display_of = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(pointers[1])
    devices = (ctypes.c_void_p * _MAX_DEVICES)()
    count = ctypes.c_int(0)
    if not query(_MAX_DEVICES, devices, ctypes.byref(count)):
        return False
    egl.eglInitialize.argtypes = [ctypes.c_void_p] * 3
    displays = (display_of(_EGL_PLATFORM_DEVICE, device, None)
                for device in devices[:count.value])
    return any(display and egl.eglInitialize(display, None, None) for display in displays)


def osmesa_works() -> bool:
    """True when the OSMesa library can be loaded."""
    return _library('OSMesa', 'libOSMesa.so.8') is not None


def display_works() -> bool:
    """True when windows can be opened, as far as the environment tells."""
    return (sys.platform != 'linux' or bool(os.environ.get('DISPLAY'))
            or bool(os.environ.get('WAYLAND_DISPLAY')))


_PROBES = {'egl': egl_works, 'osmesa': osmesa_works, 'glfw': display_works}


def _library(name: str, soname: str) -> ctypes.CDLL | None:
    for candidate in (soname, ctypes.util.find_library(name)):
        if candidate:
            try:
                return ctypes.CDLL(candidate)
            except OSError:
                continue
    return None
