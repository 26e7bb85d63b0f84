"""The simulator node for tests, and what they ask it; without a renderer they are skipped."""

import importlib.util
import json
import threading

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from octo_ros.errors import OctoError
from octo_ros.nodes.sim_node import SimNode
from octo_ros.nodes.spin import Spinner
from octo_ros.sim import gl

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

PRIMARY = '/camera_primary/image_raw'
COMMAND = 'octo_controller/command/'
FAST = {'mode': 'stepped', 'patience_s': 0.1}


class Sim:
    """The node as its process runs it; the thread that starts it owns the simulator."""

    def __init__(self, ros, values):
        self.node = SimNode(context=ros.context, parameter_overrides=[
            Parameter(name, value=value) for name, value in values.items()])
        self.error = None
        self._spinner = Spinner(self.node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.node.start(self._stopping)
        except OctoError as error:
            self.error = error

    def stop(self):
        self._stopping.set()
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        self.node.stop()
        self._spinner.stop()
        self.node.destroy_node()


def state(ros):
    """Returns what ~/success tells."""
    return json.loads(ros.call(Trigger, '/octo_sim/success').message)


def set_parameters(ros, **values):
    return ros.call(SetParameters, '/octo_sim/set_parameters', parameters=[
        Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]).results


def position(message):
    point = message.pose.position
    return np.array([point.x, point.y, point.z])
