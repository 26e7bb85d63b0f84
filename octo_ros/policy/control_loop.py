"""When to look, when to think and what to do now: the control loop without clock, thread or ROS.

The owner passes the time in, as integer nanoseconds of whatever clock the stamps come from, and
serialises the calls. So the same loop serves wall time, simulated time, recordings and tests.

Policy steps follow a grid of `step_s` that starts with the first observation. Each step takes one
sample into the history; every few steps an inference is asked for; its chunk is placed by the
stamp of that sample (see `chunking`).
"""

import dataclasses
import logging
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import ParameterError
from octo_ros.policy.chunking import Chunk
from octo_ros.policy.chunking import ensemble_action
from octo_ros.policy.history import ObservationHistory
from octo_ros.policy.loop_types import HoldReason
from octo_ros.policy.loop_types import LoopParams
from octo_ros.policy.loop_types import Request
from octo_ros.policy.loop_types import Tick

__all__ = ['ControlLoop', 'HoldReason', 'LoopParams', 'Request', 'Tick']

_LOGGER = logging.getLogger('octo_ros.policy.control_loop')
# Threads read the clock before they get the owner's lock, so times may arrive slightly swapped.
_CLOCK_TOLERANCE_NS = 50_000_000


@dataclasses.dataclass(frozen=True)
class _Pending:
    request_id: int
    placed_ns: int


class ControlLoop:
    """Samples policy steps, asks for inferences and turns chunks into actions.

    Not thread-safe: the owner holds one lock around the calls (none of them takes long).
    """

    def __init__(
        self, params: LoopParams, *, window: int, action_horizon: int, action_dim: int,
        frames_before: int = 0, pose_angles: str = '',
    ) -> None:
        """Makes a loop that has seen nothing.

        Args:
            params: timing.
            window: history steps of the policy, used when `params.window` is 0.
            action_horizon: steps in a chunk.
            action_dim: numbers in an action.
            frames_before: steps to keep before the window, see `PolicySpec`.
            pose_angles: what the ensemble averages as a rotation, see `RobotProfile`.

        Raises:
            ParameterError: more steps are to be executed than a chunk has.
        """
        for name in ('execute_steps', 'ensemble_steps'):
            if getattr(params, name) > action_horizon:
                raise ParameterError(
                    f"'{name}' must be at most {action_horizon}, the steps in a chunk of this "
                    f'checkpoint, got {getattr(params, name)}; lower it or set 0')
        self.params = params
        self.window = params.window or window
        self.execute_steps = params.execute_steps or max(1, action_horizon // 2)
        self._ensemble = params.execution == 'temporal_ensemble'
        if self._ensemble:
            self.execute_steps = 1
        self._usable_steps = action_horizon
        if self._ensemble and params.ensemble_steps:
            self._usable_steps = params.ensemble_steps
        self._pose_angles = pose_angles
        self._chunk_shape = (action_horizon, action_dim)
        self._history: ObservationHistory[Any] = ObservationHistory(
            self.window + frames_before)
        self._next_id = 0
        self._jumped_back = False
        self.reset()

    def reset(self) -> None:
        """Forgets history, chunks and pending requests; the next observation starts a new grid.

        A clock that starts anew is fine after this. Request ids go on counting, so an answer to a
        request from before is recognised and ignored.
        """
        self._history.reset()
        self._anchor_ns: int | None = None
        self._step = -1
        self._newest_stamp_ns: int | None = None
        self._refused: HoldReason | None = None
        self._pending: _Pending | None = None
        self._last_request_step: int | None = None
        self._chunks: list[Chunk] = []
        self._outdated = False
        self._cut_ns: int | None = None
        self._last_chunk: Chunk | None = None
        self._executed_id = -1
        self._last_due_ns: int | None = None
        self._last_now_ns: int | None = None

    def step_due(self, now_ns: int) -> bool:
        """Tells whether a policy step has begun that lacks its observation."""
        now_ns = self._advance(now_ns)
        return self._anchor_ns is None or self._step_at(now_ns) > self._step

    def observe(self, now_ns: int, stamp_ns: int, payload: Any) -> Request | None:
        """Takes the sample of a policy step; call it while `step_due`.

        A sample that is not newer than the last one, too old or from the future is left out, and
        the step stays due.

        Args:
            now_ns: the time [ns].
            stamp_ns: stamp of the observation [ns].
            payload: the observation, opaque.

        Returns:
            The inference that is wanted now, or None.
        """
        now_ns = self._advance(now_ns)
        self._refused = self._refusal(now_ns, stamp_ns)
        previous = self._newest_stamp_ns
        if self._refused is not None or (previous is not None and stamp_ns <= previous):
            return None
        # After a gap the old frames are no longer the steps before this one.
        limit_ns = self.params.max_observation_age_ns + self.params.step_ns
        if previous is not None and stamp_ns - previous > limit_ns:
            self._history.reset()
        self._history.push(payload)
        self._newest_stamp_ns = stamp_ns
        if self._anchor_ns is None:
            # With an owner that waits for each inference, the grid is that of the frames.
            wait = self.params.wait_for_inference
            self._anchor_ns = min(stamp_ns, now_ns) if wait else now_ns
        self._step = self._step_at(now_ns)
        return self._request(now_ns, stamp_ns)

    def accept(
        self, request_id: int, actions: Float[np.ndarray, 'ah ad'], observed_ns: int
    ) -> bool:
        """Takes the chunk that answers a request.

        Args:
            request_id: from the request.
            actions: the chunk.
            observed_ns: stamp of the observation it was computed from [ns].

        Returns:
            False for the answer to a request that a reset or a new task has made void.

        Raises:
            ParameterError: the chunk has another shape than the policy's, or is not finite; the
                request is given up.
        """
        pending = self._pending
        if pending is None or pending.request_id != request_id:
            return False
        actions = np.asarray(actions)
        if actions.shape != self._chunk_shape or not np.isfinite(actions).all():
            self.abandon(request_id)
            raise ParameterError(
                f'A chunk must be finite and have the shape {self._chunk_shape}, got shape '
                f'{actions.shape} with {int((~np.isfinite(actions)).sum())} numbers that are not '
                'finite; it is dropped')
        self._pending = None
        if self._outdated or not self._ensemble:
            self._chunks.clear()
        self._outdated = False
        self._cut_ns = None
        placed_ns = min(observed_ns, pending.placed_ns)
        self._last_chunk = Chunk(request_id, observed_ns, placed_ns, actions)
        self._chunks.append(self._last_chunk)
        return True

    def abandon(self, request_id: int, *, unusable: tuple[Any, ...] = ()) -> None:
        """Gives up a request whose inference failed; the next step asks again.

        Args:
            request_id: from the request.
            unusable: payloads of the request that must not be used again (a damaged image).
        """
        for payload in unusable:
            self._history.discard(payload)
        if self._pending is not None and self._pending.request_id == request_id:
            self._pending = None
            self._last_request_step = None

    def replan(self, now_ns: int) -> None:
        """Makes the running plan outdated, for a new task; the history stays.

        A pending answer is void, the next observation asks for an inference at once, and the
        running chunk ends with its successor or one policy step from now, whichever is first.
        """
        now_ns = self._advance(now_ns)
        self._pending = None
        self._last_request_step = None
        self._outdated = True
        if self._cut_ns is None:
            self._cut_ns = now_ns + self.params.step_ns

    def tick(self, now_ns: int) -> Tick:
        """Returns the action that is due now, or why there is none."""
        now_ns = self._advance(now_ns)
        if self._jumped_back:
            self._jumped_back = False
            return Tick(None, HoldReason.CLOCK_JUMPED_BACK)
        self._drop_past_chunks(now_ns)
        if not self._chunks:
            return Tick(None, self._hold_reason(now_ns))
        if self.params.wait_for_inference and (
                self._pending is not None or self._step_at(now_ns) > self._step):
            return Tick(None, HoldReason.STANDING_STILL)
        newest = self._chunks[-1]
        index = newest.index_at(now_ns, self.params.step_ns)
        due_ns = newest.due_ns(index, self.params.step_ns)
        # Chunks from jittering stamps may name one and the same step; it counts once.
        new_step = (
            self._last_due_ns is None or due_ns - self._last_due_ns > self.params.step_ns // 2)
        if new_step:
            self._last_due_ns = due_ns
        self._executed_id = newest.chunk_id
        return Tick(
            self._action(newest, index, due_ns), None, new_step, newest.chunk_id, index,
            newest.observed_ns, due_ns)

    def _action(self, newest: Chunk, index: int, due_ns: int) -> Float[np.ndarray, 'ad']:
        if not self._ensemble:
            return newest.actions[index]
        return ensemble_action(
            self._chunks, due_ns, self.params.step_ns, self.params.ensemble_exp_weight,
            self._usable_steps, self._pose_angles)

    def _advance(self, now_ns: int) -> int:
        """Notes the time; a clock that jumped back resets the loop."""
        last_ns = self._last_now_ns
        if last_ns is not None and now_ns < last_ns:
            if last_ns - now_ns <= _CLOCK_TOLERANCE_NS:
                return last_ns
            _LOGGER.warning(
                'The clock jumped back by %.3f s; history and chunks are dropped.',
                (last_ns - now_ns) / 1e9)
            self.reset()
            self._jumped_back = True
        self._last_now_ns = now_ns
        return now_ns

    def _step_at(self, now_ns: int) -> int:
        return (now_ns - (self._anchor_ns or 0)) // self.params.step_ns

    def _refusal(self, now_ns: int, stamp_ns: int) -> HoldReason | None:
        if now_ns - stamp_ns > self.params.max_observation_age_ns:
            return HoldReason.OBSERVATION_STALE
        if stamp_ns - now_ns > self.params.max_observation_age_ns:
            return HoldReason.OBSERVATION_AHEAD
        return None

    def _request(self, now_ns: int, stamp_ns: int) -> Request | None:
        last = self._last_request_step
        if self._pending is not None or (
                last is not None and self._step - last < self.execute_steps):
            return None
        payloads, mask = self._history.window()
        request = Request(self._next_id, stamp_ns, payloads, mask)
        self._pending = _Pending(self._next_id, min(stamp_ns, now_ns))
        self._last_request_step = self._step
        self._next_id += 1
        return request

    def _drop_past_chunks(self, now_ns: int) -> None:
        step_ns = self.params.step_ns
        if self._cut_ns is not None and now_ns >= self._cut_ns:
            self._chunks.clear()
            self._last_chunk = None
        if self._chunks and self._chunks[-1].index_at(now_ns, step_ns) >= self._usable_steps:
            self._chunks.clear()
        # One step longer than it is due: the ensemble takes the step nearest in time.
        self._chunks = [
            chunk for chunk in self._chunks
            if chunk.index_at(now_ns, step_ns) <= self._usable_steps]

    def _hold_reason(self, now_ns: int) -> HoldReason:
        if self._refused is not None:
            return self._refused
        if self._newest_stamp_ns is None:
            return HoldReason.NO_OBSERVATION
        limit_ns = self.params.max_observation_age_ns + self.params.step_ns
        if now_ns - self._newest_stamp_ns > limit_ns:
            return HoldReason.OBSERVATION_STALE
        if self._last_chunk is None:
            return HoldReason.WAITING_FOR_INFERENCE
        if self._last_chunk.chunk_id != self._executed_id:
            return HoldReason.CHUNK_LATE
        return HoldReason.CHUNK_EXHAUSTED
