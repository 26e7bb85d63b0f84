"""Frames of the demo's film."""

import numpy as np
import pytest

from octo_ros.sim.film import COLOURS
from octo_ros.sim.film import Scene
from octo_ros.sim.film import compose

RED, GREEN, BLUE = ((230, 20, 20), (20, 200, 30), (30, 40, 220))


def view(colour, side):
    return np.full((side, side, 3), colour, np.uint8)


@pytest.mark.parametrize('state', COLOURS)
def test_views_and_words_have_their_places(state):
    frame = compose(Scene(view(RED, 256), view(GREEN, 128), view(BLUE, 256),
                          'lift the red block', '1 of 3', state))
    assert frame.shape == (520, 672, 3)
    assert (frame[200, 200] == RED).all()
    assert (frame[200, 600] == GREEN).all()
    assert (frame[400, 600] == BLUE).all()
    assert (frame[-1, -1] == COLOURS[state]).all()
    assert (frame[448:] == 240).all(axis=2).any()  # the words


def test_missing_views_leave_their_places_dark():
    frame = compose(Scene(view(RED, 64), None, None, '', '', 'running'))
    assert frame[200, 600].max() < 40
    assert frame[400, 600].max() < 40


def test_a_long_line_is_made_to_fit():
    frame = compose(Scene(view(RED, 64), None, None, 'word ' * 14, '', 'running'))
    assert (frame[448:, -12:] == COLOURS['running']).all()
