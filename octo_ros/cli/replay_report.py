"""What `octo-ros replay` prints at its end, and whether the replay passes as a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

    from octo_ros.bags.results import ReplayResult
    from octo_ros.policy.profile import RobotProfile

FAILED = 1


def report(result: 'ReplayResult', profile: 'RobotProfile', wrote: Sequence[Path], *,
           max_error: float | None, min_compared: float) -> int:
    """Prints what came out.

    Args:
        result: what came out.
        profile: of the robot.
        wrote: files of the output.
        max_error: greatest mean absolute error that passes; None: it is no test.
        min_compared: part of the recorded policy steps that a test must compare with.

    Returns:
        The exit code.

    Raises:
        ParameterError: it is a test, and there is nothing to compare with.
    """
    from octo_ros.bags.results import errors
    from octo_ros.bags.results import recorded_steps
    from octo_ros.bags.results import silence

    names = profile.action.names
    print(f'{len(result.chunks)} chunks, {len(result.steps)} actions; task: '
          f"{result.task or 'goal image'}")
    silent = silence(result, profile.step_s)
    if silent:
        print(silent)
    difference = errors(result.steps, pose_angles=profile.pose_angles)
    if difference.size:
        _print_errors(difference, names)
    else:
        print('no recorded action to compare with')
    *others, last = wrote
    print(f"wrote {', '.join(map(str, others))} and {last}")
    if max_error is None:
        return 0
    if not difference.size:
        raise ParameterError("'--max-error' must have a recorded action to compare with, got "
                             'none; give --action-topic')
    failed = False
    steps = recorded_steps(result, round(profile.step_s * 1e9))
    if len(difference) < min_compared * steps:
        failed = True
        print(f'at least {min_compared:.0%} of the recorded steps must be compared '
              f'(--min-compared), got {len(difference)} of {steps}')
    worst = abs(difference).mean(axis=0)
    wrong = [f'{name} {value:.6g}' for name, value in zip(names, worst, strict=True)
             if not value <= max_error]
    if wrong:
        failed = True
        print(f"mean absolute error must be at most {max_error:g}, got {', '.join(wrong)}")
    return FAILED if failed else 0


def _print_errors(difference: 'np.ndarray', names: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f'predicted minus recorded, {len(difference)} actions')
    table.add_column('dimension')
    for column in ('mean abs', 'root mean square', 'max abs', 'bias'):
        table.add_column(column, justify='right')
    for name, values in zip(names, difference.T, strict=True):
        figures = (abs(values).mean(), (values ** 2).mean() ** 0.5, abs(values).max(),
                   values.mean())
        table.add_row(name, *(f'{figure:.5f}' for figure in figures))
    Console().print(table)
