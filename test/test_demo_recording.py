"""The recording that ships with the package: what is in it, and that it can be made again."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from octo_ros.assets import shipped_recording

SCRIPTS = Path(__file__).resolve().parent.parent / 'scripts'


@pytest.fixture(scope='module')
def messages() -> dict[str, list]:
    """Every message of the recording by topic."""
    found: dict[str, list] = {}
    with AnyReader([shipped_recording()]) as reader:
        for connection, _, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append(message)
    return found


def _stamp_ns(message) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.mark.parametrize(('camera', 'size'), [('primary', (240, 320)), ('wrist', (128, 128))])
def test_cameras_run_at_ten_hertz_in_colour(messages, camera, size):
    images = messages[f'/camera_{camera}/image_raw/compressed']
    assert set(np.diff([_stamp_ns(image) for image in images])) == {100_000_000}
    assert {image.format for image in images} == {'rgb8; jpeg compressed bgr8'}
    for image in (images[0], images[-1]):
        assert cv2.imdecode(image.data, cv2.IMREAD_COLOR).shape == (*size, 3)


def test_actions_lead_from_one_state_to_the_next(messages):
    states = np.array([message.position for message in messages['/state']])
    actions = np.array([message.position for message in messages['/expert_action']])
    reached = states[::2][1:]
    np.testing.assert_allclose(states[::2][:-1, :6] + actions[:len(reached), :6], reached[:, :6],
                               atol=1e-9)
    np.testing.assert_allclose(actions[:len(reached), 6], reached[:, 6], atol=1e-9)
    assert {1.0, 0.0} <= set(np.round(actions[:, 6], 3))


def test_instruction_is_there_once_at_the_start(messages):
    assert [message.data for message in messages['/instruction']] == [
        'put the red block on the plate']


def test_script_renders_the_frame_that_ships(messages, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import make_demo_recording
    first = make_demo_recording.views(0.0)['wrist']
    shipped = cv2.imdecode(messages['/camera_wrist/image_raw/compressed'][0].data,
                           cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(first.astype(int) - shipped).mean() < 4
    sys.modules.pop('make_demo_recording')
    sys.modules.pop('raytrace')
