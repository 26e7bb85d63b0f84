"""Samples become frames: each message is decoded once, what is bad is left out and named."""

import numpy as np
import pytest

from octo_ros.messages.frames import FrameDecoder
from octo_ros.messages.ingest import Sample
from octo_ros.messages.stream import Stamped

KEYS = ('image_primary', 'image_wrist')


def _stamped(message):
    return Stamped(message, 1, 1)


@pytest.fixture
def decoded_keys():
    return []


@pytest.fixture
def decoder(decoded_keys):
    def preprocess(key, image):
        decoded_keys.append(key)
        return image

    return FrameDecoder(KEYS, preprocess=preprocess, proprio_dim=2, window=2)


@pytest.fixture
def good(messages):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    return {'image_primary': _stamped(messages.image(pixels)),
            'image_wrist': _stamped(messages.image(pixels[::-1])),
            'proprio': _stamped(messages.joints(['a', 'b'], [0.5, 1.5]))}


@pytest.fixture
def bad(messages):
    image = _stamped(messages.image(np.zeros((2, 2, 3), np.uint8), 'no such encoding'))
    return {'image_primary': image, 'image_wrist': image,
            'proprio': _stamped(messages.joints(['a', 'b'], [0.5, np.nan]))}


def test_frame_holds_images_and_proprio(decoder, good):
    frame = decoder.frame(Sample(7, good)).frame
    assert frame.stamp_ns == 7
    assert frame.images['image_primary'][0, 1].tolist() == [3, 4, 5]
    assert frame.proprio.tolist() == [0.5, 1.5]


def test_each_message_is_decoded_once(decoder, decoded_keys, good, messages):
    newer = {**good, 'image_wrist': _stamped(messages.image(np.zeros((2, 2, 3), np.uint8)))}
    for sample in (Sample(7, good), Sample(7, good), Sample(8, newer), Sample(7, good)):
        decoder.frame(sample)
    assert decoded_keys == ['image_primary', 'image_wrist', 'image_wrist']


def test_the_cache_stays_small(decoder, messages):
    for stamp_ns in range(100):
        image = _stamped(messages.image(np.zeros((2, 2, 3), np.uint8)))
        decoder.frame(Sample(stamp_ns, {'image_primary': image}))
    assert len(decoder._cache) == 12


def test_good_frame_in_the_history_is_not_seen_again_while_only_bad_ones_come(
        decoder, good, messages):
    seen = []
    for stamp_ns in range(50):
        bad = _stamped(messages.image(np.zeros((2, 2, 3), np.uint8), 'no such encoding'))
        seen.append(decoder.frame(Sample(7, good)).seen)
        decoder.frame(Sample(stamp_ns, {'image_primary': bad}))
    assert seen == [tuple(good), *[()] * 49]


def test_bad_second_camera_is_left_out(decoder, good, bad):
    decoded = decoder.frame(Sample(7, {**good, 'image_wrist': bad['image_wrist']}))
    assert set(decoded.frame.images) == {'image_primary'}
    assert set(decoded.problems) == {'image_wrist'}
    assert set(decoded.seen) == {'image_primary', 'image_wrist', 'proprio'}


@pytest.mark.parametrize('name', ['image_primary', 'proprio'])
def test_bad_reference_camera_or_proprio_makes_no_frame(decoder, good, bad, name):
    decoded = decoder.frame(Sample(7, {**good, name: bad[name]}))
    assert decoded.frame is None
    assert set(decoded.problems) == {name}
