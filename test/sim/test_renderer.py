import os
import subprocess
import sys

import numpy as np
import pytest

from octo_ros.errors import ParameterError
from octo_ros.sim import gl

DRAW = ('from octo_ros.sim.simulator import Simulator; sim = Simulator(); sim.step([0] * 7); '
        'print(sim.render("primary").mean())')


def draw_in_new_process(**environment):
    # MuJoCo sets PYOPENGL_PLATFORM in this process to the back end in use here.
    inherited = {key: value for key, value in os.environ.items() if key != 'PYOPENGL_PLATFORM'}
    return subprocess.run(
        [sys.executable, '-W', 'error', '-c', DRAW], capture_output=True, text=True, timeout=100,
        check=False, env={**inherited, **environment})


def test_views_have_the_stated_sizes(drawing_sim):
    drawing_sim.reset(0)
    images = drawing_sim.observe().images
    assert {name: image.shape for name, image in images.items()} == {
        'primary': (256, 256, 3), 'wrist': (128, 128, 3)}
    assert all(image.dtype == np.uint8 for image in images.values())
    assert drawing_sim.render('primary', 64).shape == (64, 64, 3)


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_every_block_is_well_seen_by_the_primary_camera(drawing_sim, seed):
    drawing_sim.reset(seed)
    image = drawing_sim.render('primary').astype(int)
    for channel in range(3):
        others = np.delete(image, channel, axis=2).max(axis=2)
        assert (image[..., channel] > others + 40).sum() > 100


def test_left_in_the_picture_is_minus_y(drawing_sim):
    drawing_sim.reset(0)
    layout = drawing_sim.layout
    image = drawing_sim.render('primary').astype(int)
    columns = {}
    for channel, colour in enumerate(('red', 'green', 'blue')):
        others = np.delete(image, channel, axis=2).max(axis=2)
        columns[colour] = np.nonzero(image[..., channel] > others + 40)[1].mean()
    assert sorted(columns, key=columns.get) == sorted(
        layout.blocks, key=lambda colour: layout.blocks[colour][1])


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(drawing_sim):
    pictures = []
    for seed in (5, 6, 5):
        drawing_sim.reset(seed)
        pictures.append(drawing_sim.render('primary'))
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])


def test_unknown_cameras_and_sizes_out_of_range_are_refused(drawing_sim):
    with pytest.raises(ParameterError, match="did you mean 'wrist'"):
        drawing_sim.render('wirst')
    with pytest.raises(ParameterError, match='got 1000'):
        drawing_sim.render('primary', 1000)


def test_it_draws_again_after_close(drawing_sim):
    drawing_sim.reset(0)
    before = drawing_sim.render('wrist')
    drawing_sim.close()
    drawing_sim.close()
    assert np.array_equal(drawing_sim.render('wrist'), before)


def test_osmesa_draws_and_exits_without_a_word_on_stderr(sim):
    if not gl.osmesa_works():
        pytest.skip('OSMesa is not installed')
    result = draw_in_new_process(MUJOCO_GL='osmesa')
    assert (result.returncode, result.stderr) == (0, '')


def test_the_back_end_is_found_and_exits_without_a_word_on_stderr(drawing_sim):
    result = draw_in_new_process(MUJOCO_GL='')
    assert (result.returncode, result.stderr) == (0, '')


def test_without_a_back_end_physics_runs_and_drawing_names_the_packages(sim):
    result = draw_in_new_process(MUJOCO_GL='disable')
    assert result.returncode != 0
    assert 'ParameterError' in result.stderr
    for package in ('libosmesa6', 'libegl1', 'libgl1-mesa-dri'):
        assert package in result.stderr
