"""What a folder of `octo-ros finetune` was made with, so that no other run goes on in it."""

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_ros.cli import output_folder
from octo_ros.cli import training_data
from octo_ros.cli.source_options import by_camera
from octo_ros.cli.training_options import Options
from octo_ros.cli.weights import weights_of
from octo_ros.params import to_flat

SETTINGS = 'run.json'
EPISODES = 'episodes'  # folder of the episodes that a run makes of recordings
_DATA = 'data'
_SWITCHES = ('model.proprio', 'model.velocity')
# How to look at a run and how fast it goes; the same weights come out. Not `steps`: the learning
# rate falls along the whole run, and the checkpoint, whose steps share one config, tells them.
_FREE = ('workers', 'frames_on_device', 'log_every', 'eval_every', 'save_every', 'eval_samples',
         'eval_steps')


@contextlib.contextmanager
def settled(args: argparse.Namespace, options: Options) -> Iterator[None]:
    """Prepares and keeps the folder of the run; of several processes the first one does.

    What only the training uses may change until it has begun, since making episodes takes long.

    Raises:
        ParameterError: the folder is of a run with other options or data, or of no run, or
            another run is at work in it.
    """
    from octo_ros.train.adapt import ModelParams
    from octo_ros.train.devices import first_before_others
    from octo_ros.train.devices import is_first
    from octo_ros.train.loop import STATE_FOLDER
    from octo_ros.train.params import TrainParams
    from octo_ros.train.scratch import ScratchParams

    episodes, training = _of_episodes(args, options), _of_training(args, options)
    begun = (args.out / STATE_FOLDER).is_dir()
    free = (_DATA,) if begun else (_DATA, *training)
    absent = {'gripper': None, 'gripper_range': None, 'state_names': [], **_values(
        {'': TrainParams(), 'model.': ModelParams(), 'scratch.': ScratchParams()})}
    with contextlib.ExitStack() as run:
        with first_before_others('settings'):
            settings = {**episodes, **training,
                        _DATA: _data(args, episodes['source'], begun=begun)}
            if is_first():
                run.enter_context(output_folder.prepared(
                    args.out, SETTINGS, settings, free=free, absent=absent))
            else:
                output_folder.check(args.out, SETTINGS, settings, free=(_DATA,), absent=absent)
        yield


def as_begun(args: argparse.Namespace, options: Options) -> Options:
    """Returns the options as a run of older versions understood them, which is to go on.

    They gave no proprio unless told to, where now it is kept of the checkpoint.
    """
    names = [name.removeprefix('model.') for name, value in _older_switches(args).items()
             if not value]
    off: dict[str, Any] = {
        name: 'off' for name in names if getattr(options.model, name) == 'keep'}
    return dataclasses.replace(options, model=dataclasses.replace(options.model, **off))


def _older_switches(args: argparse.Namespace) -> dict[str, bool]:
    """Returns what a run that has begun noted as booleans, as was done before `keep`."""
    from octo_ros.train.loop import STATE_FOLDER

    if not ((args.out / STATE_FOLDER).is_dir() and (args.out / SETTINGS).is_file()):
        return {}
    before = output_folder.settings_of(args.out, SETTINGS)
    return {name: before[name] for name in _SWITCHES if isinstance(before.get(name), bool)}


def _data(args: argparse.Namespace, source: list[str], *, begun: bool) -> dict[str, Any]:
    """Returns what the data are, or were when the run used them; refuses others then."""
    from octo_ros.data.store import INDEX

    now = training_data.contents_of(args.source)
    used = begun or (args.out / EPISODES / INDEX).is_file()
    if not used or not (args.out / SETTINGS).is_file():
        return now
    settings = output_folder.settings_of(args.out, SETTINGS)
    before: dict[str, Any] = settings.get(_DATA) or {}
    if settings.get('source') == source:
        training_data.check_contents(args.out, args.source, before, now)
    return now or before


def _of_episodes(args: argparse.Namespace, options: Options) -> dict[str, Any]:
    from octo_ros.data.store import INDEX

    chosen = {
        'source': [_place(source) for source in args.source], 'robot': args.robot,
        'checkpoint': options.checkpoint and _place(options.checkpoint),
        'weights': weights_of(options.checkpoint) if options.checkpoint else {}}
    if (args.source[0] / INDEX).is_file():
        return chosen  # the rest is of no account
    return chosen | {
        'camera': by_camera('--camera', args.camera), 'state': args.state,
        'state_names': args.state_names, 'action_topic': args.action_topic,
        'instruction_topic': args.instruction_topic,
        'faults': args.faults, 'keep_failures': args.keep_failures, 'split': args.split,
        'actions': args.actions, 'gripper': args.gripper, 'gripper_range': args.gripper_range,
        'size': {key: list(size) for key, size in options.sizes.items()}}


def _of_training(args: argparse.Namespace, options: Options) -> dict[str, Any]:
    values = _values(
        {'': options.train, 'model.': options.model, 'scratch.': options.scratch})
    for name, before in _older_switches(args).items():
        if values[name] == ('on' if before else 'off'):
            values[name] = before
    return {'hold_out': options.hold_out, 'dataset': args.dataset, 'vocabulary': args.vocabulary,
            **{name: value for name, value in values.items() if name not in _FREE}}


def _values(groups: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for prefix, group in groups.items()
            for name, value in to_flat(group).items()}


def _place(source: str | Path) -> str:
    """Returns a path that means the same from every folder; names on the hub as they are."""
    text = str(source)
    return text if text.startswith('hf:/') else str(Path(text).expanduser().resolve())
