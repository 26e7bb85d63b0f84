import dataclasses

import numpy as np
import pytest

from octo_ros.sim import randomization
from octo_ros.sim.randomization import SceneParams
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.scene import BLOCK_HALF
from octo_ros.sim.scene import PLATE_RADIUS


def test_a_seed_gives_one_layout_and_seeds_differ():
    assert sample_layout(7) == sample_layout(7)
    assert sample_layout(7) != sample_layout(8)


def test_without_jitter_only_places_vary():
    params = SceneParams(block_yaw=0.0, arm_jitter=0.0, camera_jitter=0.0, colour_jitter=0.0,
                         light_jitter=0.0, max_distractors=0)
    one, two = sample_layout(1, params), sample_layout(2, params)
    assert one.blocks != two.blocks
    places = {'blocks', 'containers'}
    for field in dataclasses.fields(one):
        if field.name not in places:
            assert getattr(one, field.name) == getattr(two, field.name), field.name


def test_blocks_keep_room_for_a_finger_and_clear_of_plate_and_bowl():
    for seed in range(200):
        layout = sample_layout(seed)
        blocks = list(layout.blocks.values())
        for k, (x, y, _) in enumerate(blocks):
            for other_x, other_y, _ in blocks[k + 1:]:
                assert abs(x - other_x) > 0.06 or abs(y - other_y) > 0.09
            for container_x, _, _ in layout.containers.values():
                assert x + BLOCK_HALF < container_x - PLATE_RADIUS


def test_plate_and_bowl_swap_sides_and_distractors_come_and_go():
    layouts = [sample_layout(seed) for seed in range(100)]
    left = sum(layout.containers['plate'][1] < 0 for layout in layouts)
    counts = {len(layout.distractors) for layout in layouts}
    assert 30 < left < 70
    assert counts == {0, 1, 2}


@pytest.mark.parametrize('position', [(1.0, 0.0, 0.6), (0.3, -0.5, 0.4), (-1.0, 0.1, 0.2)])
def test_looking_at_turns_the_camera_to_the_target(position):
    w, x, y, z = randomization.looking_at(position, (0.3, 0.0, 0.0))
    assert np.isclose(w * w + x * x + y * y + z * z, 1.0)
    # The camera looks along its -z axis, the third column of its rotation.
    view = -np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    wanted = np.subtract((0.3, 0.0, 0.0), position)
    assert np.allclose(view, wanted / np.linalg.norm(wanted))
