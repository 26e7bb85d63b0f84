"""A picture of what the policy answers beside what was done."""

from collections.abc import Sequence
from pathlib import Path

from octo_ros.train.evaluate import Report

_MOST_STEPS = 120


def draw_predictions(report: Report, names: Sequence[str], file: Path) -> None:
    """Draws one panel per action dimension over the held-out steps, episode after episode.

    Args:
        report: of a test.
        names: of the action dimensions.
        file: the picture to write.
    """
    from matplotlib.figure import Figure  # imported late: takes a second

    dimensions = report.recorded.shape[1]
    labels = [*names, *map(str, range(len(names), dimensions))][:dimensions]
    figure = Figure(figsize=(11.0, 1.0 + 1.2 * dimensions), layout='constrained')
    panels = figure.subplots(dimensions, 1, sharex=True, squeeze=False)[:, 0]
    for index, axes in enumerate(panels):
        axes.plot(report.recorded[:_MOST_STEPS, index], color='#2b2b2b', linewidth=1.2,
                  label='recorded')
        axes.plot(report.predicted[:_MOST_STEPS, index], color='#1f5fb4', linewidth=1.2,
                  label='predicted')
        axes.set_ylabel(labels[index], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_title(f'error {report.per_dimension[index]:.2f}', fontsize=7, loc='right')
    panels[0].legend(fontsize=7, ncols=2, loc='upper left')
    panels[-1].set_xlabel('held-out step', fontsize=8)
    figure.suptitle(
        f'Held-out actions, normalised. Error {report.error:.2f}; predicting the mean action: 1',
        fontsize=10)
    figure.savefig(file, dpi=110)
