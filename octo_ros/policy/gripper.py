"""From the gripper's number in an action to a command: binary, sticky, in the gripper's sense."""

from octo_ros.policy.profile import GripperParams


class Gripper:
    """State of one gripper; `step` advances it once per policy step.

    Absolute: the opening is compared with the threshold, and the state flips after
    `sticky_count` successive readings of the opposite (the rule of Octo's WidowX evaluation).
    Relative: the fall of the opening from one step to the next is a closing motion; a large one
    is held for `hold_steps` steps, during which others are ignored (the rule by which SimplerEnv
    evaluates policies that were trained on relative gripper actions).
    """

    def __init__(self, params: GripperParams) -> None:
        """Makes a gripper that has seen nothing."""
        self._params = params
        self.reset()

    def reset(self) -> None:
        """Forgets the state; the next reading sets it at once."""
        self._opening: float | None = None
        self._previous: float | None = None
        self._opposite = 0
        self._held = 0.0
        self._held_steps = 0
        self.closing = 0.0

    @property
    def command(self) -> float | None:
        """What the gripper is told, between `closed_value` and `open_value`; None at first.

        `closing` holds the last relative motion: positive closes, as Google's robot takes it.
        """
        return None if self._opening is None else self._command(self._opening)

    def step(self, value: float) -> float:
        """Takes the number of a new policy step and returns the command.

        Args:
            value: the action's number, 0..1 up to noise.
        """
        reading = min(max(float(value), 0.0), 1.0)
        if not self._params.open_is_one:
            reading = 1.0 - reading
        if self._params.mode == 'relative':
            self._opening = self._step_relative(reading)
        else:
            self._opening = self._step_absolute(reading)
        return self._command(self._opening)

    def _command(self, opening: float) -> float:
        span = self._params.open_value - self._params.closed_value
        return self._params.closed_value + span * opening

    def _step_absolute(self, reading: float) -> float:
        """Returns the opening after a reading of the absolute kind."""
        if not self._params.binarize:
            return reading
        wanted = float(reading > self._params.threshold)
        if self._opening is None:
            return wanted
        self._opposite = self._opposite + 1 if wanted != self._opening else 0
        if self._opposite < self._params.sticky_count:
            return self._opening
        self._opposite = 0
        return wanted

    def _step_relative(self, reading: float) -> float:
        """Returns the opening after a reading of the relative kind."""
        previous = reading if self._previous is None else self._previous
        self._previous = reading
        self.closing = previous - reading
        if abs(self.closing) > self._params.threshold and self._held_steps == 0:
            self._held = self.closing
            self._held_steps = self._params.hold_steps
        held = self._held_steps > 0
        if held:
            self.closing = self._held
            self._held_steps -= 1
        opening = self._opening
        if opening is None:
            opening = float(reading > 0.5) if self._params.binarize else reading
        if not self._params.binarize:
            return min(max(opening - self.closing, 0.0), 1.0)
        return float(self.closing < 0.0) if held else opening
