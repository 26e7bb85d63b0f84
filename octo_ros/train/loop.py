"""The training loop: feeds the step, logs, tests, saves, and stops when told."""

import contextlib
import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from typing import Protocol

import jax
import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.batches import BatchSource
from octo_ros.data.loader import batches
from octo_ros.model.octo import OctoModule
from octo_ros.train.devices import Devices
from octo_ros.train.devices import any_process
from octo_ros.train.devices import compile_everywhere
from octo_ros.train.devices import is_first
from octo_ros.train.devices import wait_for_all
from octo_ros.train.freezing import join
from octo_ros.train.freezing import split
from octo_ros.train.metrics import CURVES_FILE
from octo_ros.train.metrics import MetricLog
from octo_ros.train.metrics import Metrics
from octo_ros.train.metrics import draw_curves
from octo_ros.train.params import TrainParams
from octo_ros.train.saving import StateStore
from octo_ros.train.step import Frames
from octo_ros.train.step import TrainState
from octo_ros.train.step import init_state
from octo_ros.train.step import make_train_step
from octo_ros.workers import ending_signals

STATE_FOLDER = 'state'
_IN_FLIGHT = 2
_PENDING = 'pending'  # note: name of a metric to its values since the last log

Test = Callable[[Mapping[str, Any], int], Mapping[str, float]]


class Progress(Protocol):
    """What the loop tells of its course."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells that a step is done; `metrics` are the newest known ones."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """All that a run needs.

    Attributes:
        module: the model.
        params: its parameters at the start, on the host or a device.
        frozen_keys: patterns of the parameters that stay as they are.
        source: the training batches.
        augmentation: camera to its options; empty for none.
        tests: name to a test of a parameter tree at a step, run every `eval_every` steps; what it
            returns is logged as `name/metric`.
    """

    module: OctoModule
    params: Mapping[str, Any]
    frozen_keys: tuple[str, ...]
    source: BatchSource
    augmentation: Mapping[str, Any]
    tests: Mapping[str, Test] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run ended with.

    Attributes:
        step: number of steps done.
        params: the whole parameter tree; the moving average where there is one.
        stopped: True when it was told to stop before the last step.
        metrics: every metric by step.
    """

    step: int
    params: dict[str, Any]
    stopped: bool
    metrics: Mapping[str, Mapping[int, float]]


def train(setup: Setup, params: TrainParams, folder: Path, *, devices: Devices | None = None,
          progress: Progress | None = None) -> Outcome:
    """Trains, going on from the state in the folder when there is one.

    SIGINT, SIGTERM and SIGHUP end the run after the step in hand; its state is saved. A second one
    ends it at once, as does one that comes before the first step. With several processes, any of
    them ends all at the next `log_every`.

    Args:
        setup: model, parameters and data.
        params: the run.
        folder: where state, metrics and curves go.
        devices: devices to use; all when None.
        progress: told after every step.

    Raises:
        ParameterError: the batch does not fit the devices, or nothing is left to train.
        CheckpointError: the saved state is of another run.
    """
    devices = devices or Devices()
    devices.check_batch(params.batch_size, params.optimizer.accumulate)
    trained, frozen = split(setup.params, setup.frozen_keys)
    # Compiled, so that its arrays lie as those that a step gives.
    state = jax.jit(functools.partial(init_state, params), out_shardings=devices.shared)(
        devices.put_shared(trained))
    frozen = devices.put_shared(frozen)
    frames = None
    if params.frames_on_device:
        devices.check_room(setup.source.frames)
        frames = devices.put_shared(dict(setup.source.frames))
    step_function = jax.jit(
        make_train_step(setup.module, params, setup.augmentation),
        out_shardings=(devices.shared, devices.shared), donate_argnums=0)
    del trained
    wait_for_all('states')  # Orbax meets there with collectives
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(StateStore(folder / STATE_FOLDER))
        notes: Mapping[str, Any] = {}
        if store.latest is not None:
            state = store.restore(state)
            notes = store.notes()
        start = int(state.step)
        log = stack.enter_context(MetricLog(folder, start) if is_first() else Metrics())
        stream = stack.enter_context(contextlib.closing(
            batches(setup.source, start=start, workers=params.workers)))
        run = _Run(setup, params, step_function, frozen, frames, store, log, progress, notes)
        state = run.go(state, stream, devices, stack)
        step = int(state.step)
        if step > start:
            run.save(step, state)
        if is_first():
            draw_curves(log.values, folder / CURVES_FILE)
    return Outcome(step, best_params(state, frozen), step < params.steps, log.values)


def best_params(state: TrainState, frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters to test and to save: the moving average where there is one."""
    return join(state.trained if state.average is None else state.average, frozen)


class _Run:
    """The steps of one run, with its logging in between."""

    def __init__(self, setup: Setup, params: TrainParams, step_function: Callable[..., Any],
                 frozen: Mapping[str, Any], frames: Frames | None, store: StateStore, log: Metrics,
                 progress: Progress | None, notes: Mapping[str, Any]) -> None:
        self._setup = setup
        self._params = params
        self._step = step_function
        self._frozen = frozen
        self._frames = frames
        self._store = store
        self._log = log
        self._progress = progress
        self._pending = _rows(notes.get(_PENDING) or {})
        self._earlier = len(self._pending)
        self._since = time.perf_counter()
        self._idle_s = 0.0
        self._shown: dict[str, float] = {}

    def go(self, state: TrainState, stream: Iterator[Any], devices: Devices,
           stack: contextlib.ExitStack) -> TrainState:
        """Goes to the last step, or until it is told to stop, which holds until `stack` ends."""
        step, last = int(state.step), self._params.steps
        function: Callable[..., Any] | None = None
        stop = threading.Event()
        while step < last and not self._told_to_stop(step, stop):
            waited = time.perf_counter()
            batch = devices.put_batch(next(stream))
            self._idle_s += time.perf_counter() - waited
            if function is None:
                function = compile_everywhere(
                    'step', self._step, state, self._frozen, batch, self._frames)
                # Not before: that took long, and there was nothing to keep.
                stop = stack.enter_context(_stop_signals())
            state, metrics = function(state, self._frozen, batch, self._frames)
            step += 1
            self._pending.append(metrics)
            if len(self._pending) > _IN_FLIGHT:  # batches of steps not yet run take memory
                jax.block_until_ready(self._pending[-_IN_FLIGHT - 1])
            self._after(step, state)
        return state

    def _told_to_stop(self, step: int, stop: threading.Event) -> bool:
        if jax.process_count() == 1:
            return stop.is_set()
        # Asking waits for the device, so it is done where that is waited for anyhow.
        return step % self._params.log_every == 0 and any_process(stop.is_set())

    def _after(self, step: int, state: TrainState) -> None:
        params, final = self._params, step == self._params.steps
        if step % params.log_every == 0 or final:
            self._write(step)
        if step % params.eval_every == 0 or final:
            self._test(step, state)
        if step % params.save_every == 0 and not final:
            self.save(step, state)
        if self._progress is not None:
            self._progress.update(step, self._shown)

    def _write(self, step: int) -> None:
        """Logs the mean of the metrics since the last time; this waits for the device."""
        values = _columns(self._pending)
        elapsed = time.perf_counter() - self._since
        means = {f'train/{name}': float(np.mean(column)) for name, column in values.items()}
        self._log.write(step, means)
        steps = len(self._pending) - self._earlier
        speed = {'speed/samples_per_s': steps * self._params.batch_size / elapsed,
                 'speed/waiting_for_data': self._idle_s / elapsed}
        self._log.write(step, speed)
        self._shown |= {'loss': means['train/loss'], 'samples_per_s': speed['speed/samples_per_s']}
        self._pending, self._earlier = [], 0
        self._since, self._idle_s = time.perf_counter(), 0.0

    def save(self, step: int, state: TrainState) -> None:
        """Saves a state, with the metrics since the last log: the next mean is of these, too."""
        self._store.save(step, state, {_PENDING: {
            name: column.tolist() for name, column in _columns(self._pending).items()}})

    def _test(self, step: int, state: TrainState) -> None:
        began = time.perf_counter()
        params = best_params(state, self._frozen)
        for name, test in self._setup.tests.items():
            found = {f'{name}/{metric}': value for metric, value in test(params, step).items()}
            self._log.write(step, found)
            self._shown |= found
        self._since += time.perf_counter() - began


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Float[np.ndarray, 'n']]:
    """Returns the metrics of steps by name; this waits for the device."""
    values = jax.device_get(list(rows))
    return {name: np.array([row[name] for row in values], np.float32) for name in values[0]
            } if values else {}


def _rows(columns: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Returns what `_columns` was given."""
    return [dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)]


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turns the first signal that ends a command into an event; the next has its usual effect."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals belong to the main thread
        return
    before = {kind: signal.getsignal(kind) for kind in ending_signals()}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    for kind in before:
        signal.signal(kind, request)
    try:
        yield stop
    finally:
        restore()
