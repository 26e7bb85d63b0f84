"""What the progress bar shows in a narrow terminal."""

import io

from rich.console import Console

from octo_ros.train.progress import ProgressBar


def test_steps_and_time_stay_in_a_narrow_terminal_however_much_there_is_to_say():
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    with ProgressBar(500, console) as bar:
        bar.update(120, {
            'loss': 7.245, 'samples_per_s': 168.0, 'held_out_language/error': 14.495,
            'held_out_goal/error': 12.6, 'closed_loop/language_all': 0.5})
    last = [line for line in screen.getvalue().replace('\r', '\n').splitlines()
            if 'loss' in line][-1]
    assert '120/500' in last
    assert ':' in last
    assert 'loss 7.245  168 samples/s' in last
    assert len(last.rstrip()) <= 90  # with what moves the cursor
