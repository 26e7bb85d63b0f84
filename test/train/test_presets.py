"""The presets: they can be run as their text says, and say what was measured."""

import shlex

import pytest

from octo_ros.cli import training_options
from octo_ros.cli.main import build_parser
from octo_ros.cli.named_checkpoint import checkpoint_path
from octo_ros.errors import ParameterError
from octo_ros.train.presets import PRESETS
from octo_ros.train.presets import describe_presets
from octo_ros.train.presets import find_preset


def command_of(kind):
    """Returns the words of the command in a docstring."""
    text = kind.__doc__.split('Command: ')[1].split('Run time:')[0]
    return shlex.split(text)


@pytest.mark.parametrize('name', PRESETS)
def test_the_command_in_the_text_makes_the_run(name):
    program, *words = command_of(PRESETS[name])
    assert program == 'octo-ros'
    args = build_parser().parse_args(words)
    assert args.preset == name
    options = training_options.read(args)
    preset = find_preset(name)
    assert (options.train, options.model, options.scratch) == (
        preset.train, preset.model, preset.scratch)
    assert options.checkpoint == (preset.checkpoint and checkpoint_path(preset.checkpoint))
    assert options.hold_out == preset.hold_out
    assert options.sizes.items() >= {
        f'image_{camera}': size for camera, size in preset.sizes.items()}.items()


@pytest.mark.parametrize('kind', PRESETS.values())
def test_the_text_tells_run_time_and_success(kind):
    assert 'Run time: ' in kind.__doc__
    assert 'Expected success: ' in kind.__doc__


def test_what_is_given_goes_before_the_preset():
    args = build_parser().parse_args([
        'finetune', 'x', '--out', 'y', '--preset', 'octo_small_head', '--steps', '7',
        '--checkpoint', 'scratch', '--hold-out', '0', '--set', 'model.head=mse',
        'optimizer.warmup_steps=3', '--size', 'primary=32x48'])
    options = training_options.read(args)
    assert (options.train.steps, options.train.mode) == (7, 'head_only')
    assert (options.train.optimizer.warmup_steps, options.model.head) == (3, 'mse')
    assert (options.checkpoint, options.hold_out) == ('', 0)
    assert options.sizes['image_primary'] == (32, 48)


def test_an_unknown_preset_is_refused_with_the_closest():
    with pytest.raises(ParameterError, match=r"got 'tabletp' \(did you mean 'tabletop'\?\)"):
        find_preset('tabletp')


def test_all_presets_are_described():
    assert all(f'{name}\n  ' in describe_presets() for name in PRESETS)
