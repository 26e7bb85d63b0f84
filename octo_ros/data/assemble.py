"""Rows of an imported episode to a demonstration: sampled at policy steps, faults told or mended.

Importers give the numbers of an episode as they lie in its files, and a way to get at its frames.
Here the two formats become one: a step takes the row at which it begins, the deltas of all its
rows added up, and the last of their targets.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.data.episode import Episode
from octo_ros.data.findings import Demonstration
from octo_ros.data.findings import Finding
from octo_ros.data.findings import longest
from octo_ros.data.findings import stretches
from octo_ros.data.frames import Frames
from octo_ros.data.frames import Trouble
from octo_ros.data.frames import in_runs
from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.merge_rows import merge_rows
from octo_ros.data.relabel import reached_actions
from octo_ros.errors import DataError

_SAME_RATE = 0.01  # clocks that are this close, as a part, are one


class FrameSource(Protocol):
    """Gets frames of one camera."""

    def __call__(self, rows: Int[np.ndarray, 'n'], size: tuple[int, int] | None) -> Frames:
        """Returns the frames of some rows in ascending order; as recorded when size is None."""
        ...


@dataclasses.dataclass(frozen=True)
class RawEpisode:
    """An episode as it lies in a data set: entry i of every array is row i.

    Attributes:
        name: where it comes from, for reports.
        actions: the action's numbers in the wanted order.
        cameras: observation key to the feature's name and a way to its frames.
        interval_s: time between rows [s].
        action_name: name of the action's feature, for reports.
        states: proprio, or None.
        state_name: name of its feature.
        whole: False where the time to the next row is not the interval.
        instructions: the instruction and its paraphrases; may be empty.
        success: whether the episode reached its aim, if known.
        metadata: further values that JSON can hold.
    """

    name: str
    actions: Float[np.ndarray, 't ad']
    cameras: Mapping[str, tuple[str, FrameSource]]
    interval_s: float
    action_name: str = 'action'
    states: Float[np.ndarray, 't p'] | None = None
    state_name: str = 'state'
    whole: Bool[np.ndarray, 't'] | None = None
    instructions: tuple[str, ...] = ()
    success: bool | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def assemble(raw: RawEpisode, spec: ImportSpec, findings: Sequence[Finding] = ()
             ) -> Demonstration:
    """Returns the episode as training takes it, with its faults.

    Rows whose action is not finite end an episode: the longest stretch without them is kept.
    States that are not finite keep the last value; frames that are missing are marked.

    Args:
        raw: the episode.
        spec: what is wanted.
        findings: faults that are known already.

    Raises:
        DataError: the rows come more seldom than policy steps, or the state does not fit the
            action when it should replace it.
    """
    return _Assembly(raw, spec, list(findings)).run()


def step_edges(rows: int, interval_s: float, step_s: float, where: str) -> Int[np.ndarray, 'n']:
    """Returns the rows at which policy steps begin, and the row behind the last whole step.

    Raises:
        DataError: rows come more seldom than steps.
    """
    ratio = step_s / interval_s
    if ratio < 1.0 - _SAME_RATE:
        raise DataError(
            f'{where} must have a row for every policy step of {step_s:.4g} s, got one every '
            f'{interval_s:.4g} s; name a profile with step_s: {interval_s:.4g} with --robot')
    if abs(ratio - round(ratio)) <= _SAME_RATE * ratio:
        ratio = round(ratio)
    steps = int(rows / ratio + 1e-6)
    return np.round(np.arange(steps + 1) * ratio).astype(int)


class _Assembly:
    """The making of one demonstration."""

    def __init__(self, raw: RawEpisode, spec: ImportSpec, findings: list[Finding]) -> None:
        self._raw = raw
        self._spec = spec
        self._findings = findings

    def run(self) -> Demonstration:
        raw, spec = self._raw, self._spec
        edges = step_edges(len(raw.actions), raw.interval_s, spec.step_s, raw.name)
        if len(edges) < 2:
            self._note('gap', raw.action_name, None, f'only {len(raw.actions)} rows')
            return self._result(None)
        states = None if raw.states is None else self._states(raw.states)
        actions, good = self._actions(edges)
        if spec.gripper is not None:
            actions = spec.gripper.scaled(actions)
            for text in spec.gripper.faults(actions[good]):
                self._note('gripper', raw.action_name, None, text)
            actions = spec.gripper.clipped(actions)
        rows = edges[:-1]
        if spec.reached:
            if states is None:
                raise DataError(f'{raw.name} must have a state to take reached actions from, got '
                                'none; leave the actions as recorded')
            actions = reached_actions(actions, states[rows], spec.grippers, delta=spec.delta,
                                      angles=spec.angles)
            rows, good = rows[:-1], good[:-1] & np.isfinite(actions).all(axis=1)
        keep = longest(good)
        if keep.stop - keep.start < spec.shortest:
            self._note('gap', raw.action_name, None,
                       f'only {keep.stop - keep.start} steps in a row have an action')
            return self._result(None)
        step_s = raw.interval_s * (int(edges[-1]) / (len(edges) - 1))
        return self._result(self._episode(rows[keep], actions[keep], states, step_s))

    def _actions(self, edges: Int[np.ndarray, 'n']
                 ) -> tuple[Float[np.ndarray, 'n ad'], Bool[np.ndarray, 'n']]:
        """Returns the action of every step, and which are whole."""
        raw, spec = self._raw, self._spec
        broken = ~np.isfinite(raw.actions).all(axis=1)
        self._note_rows('nan', raw.action_name, broken, 'the action is not finite')
        if raw.whole is not None:
            self._note_rows('gap', 'timestamp', ~raw.whole,
                            f'the next row does not follow after {raw.interval_s:.4g} s')
            broken |= ~raw.whole
        numbers = np.arange(raw.actions.shape[1])
        deltas = np.setdiff1d(numbers, spec.grippers) if spec.delta else numbers[:0]
        good = ~np.logical_or.reduceat(broken[:edges[-1]], edges[:-1])
        return merge_rows(raw.actions, edges, deltas), good

    def _states(self, states: Float[np.ndarray, 't p']) -> Float[np.ndarray, 't p'] | None:
        bad = ~np.isfinite(states).all(axis=1)
        self._note_rows('nan', self._raw.state_name, bad, 'the state is not finite')
        good = np.flatnonzero(~bad)
        if not len(good):
            raise DataError(
                f"{self._raw.name}: '{self._raw.state_name}' must hold finite states, got none; "
                'name another one with --state')
        last = np.searchsorted(good, np.arange(len(states)), side='right') - 1
        return states[good[np.maximum(last, 0)]]

    def _episode(self, rows: Int[np.ndarray, 'n'], actions: Float[np.ndarray, 'n ad'],
                 states: Float[np.ndarray, 't p'] | None, step_s: float) -> Episode | None:
        raw, spec = self._raw, self._spec
        images, present = {}, {}
        for key, (feature, source) in raw.cameras.items():
            frames = source(rows, spec.image_sizes.get(key, spec.default_size))
            self._note_troubles(feature, rows, frames.troubles)
            stacked = frames.stacked()
            if stacked is None:
                self._note('missing', feature, None, f'there is no frame for {key}')
                return None
            images[key], present[key] = stacked
        texts = tuple(dict.fromkeys(text for text in raw.instructions if text.strip()))
        if not texts:
            self._note('instruction', '', None, 'no instruction')
        return Episode(
            name=raw.name, images=images, actions=actions.astype(np.float32), instructions=texts,
            proprio=None if states is None else states[rows].astype(np.float32), present=present,
            step_s=step_s, success=raw.success, metadata=raw.metadata)

    def _note_troubles(self, feature: str, rows: Int[np.ndarray, 'n'], troubles: list[Trouble]
                       ) -> None:
        """Notes frames with one fault that follow each other once."""
        for row, kind, text, count in in_runs(troubles, rows.tolist(), 'frames'):
            self._note(kind, feature, None if row is None else row * self._raw.interval_s, text,
                       count)

    def _note_rows(self, kind: str, topic: str, hit: Bool[np.ndarray, 't'], text: str) -> None:
        """Notes each stretch of rows once."""
        for stretch in stretches(hit):
            count = stretch.stop - stretch.start
            self._note(kind, topic, stretch.start * self._raw.interval_s,
                       f'{text}, for {count} row{"s" if count > 1 else ""}', count)

    def _note(self, kind: str, topic: str, time_s: float | None, text: str, count: int = 1
              ) -> None:
        self._findings.append(Finding(self._raw.name, kind, topic, time_s, text, count))

    def _result(self, episode: Episode | None) -> Demonstration:
        return Demonstration(episode, tuple(self._findings))
