"""One simulator for all tests of this folder: loading it takes longer than an episode."""

import importlib.util

import pytest

from octo_ros.sim import gl


@pytest.fixture(scope='session')
def sim():
    if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
        pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed")
    from octo_ros.sim.simulator import Simulator

    simulator = Simulator()
    yield simulator
    simulator.close()


@pytest.fixture
def drawing_sim(sim):
    if gl.backend() == 'disable':
        pytest.skip('neither EGL nor OSMesa is installed')
    return sim
