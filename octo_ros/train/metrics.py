"""What a run leaves to look at: metrics.csv, TensorBoard files and a picture of the curves."""

import contextlib
import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tensorboardX import SummaryWriter

CSV_FILE = 'metrics.csv'
CURVES_FILE = 'curves.png'
_FIELDS = ('step', 'name', 'value')


class Metrics:
    """Metrics of a run in memory: all that a process keeps which is not the first.

    Attributes:
        values: metric to its value by step.
    """

    def __init__(self) -> None:
        """Begins with none."""
        self.values: dict[str, dict[int, float]] = {}

    def __enter__(self) -> 'Metrics':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Has nothing to close."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a step."""
        for name, value in metrics.items():
            self.values.setdefault(name, {})[step] = float(value)


class MetricLog(Metrics):
    """Writes metrics as they come, too; a context manager.

    A run that is taken up again goes on behind the step it starts from: lines of later steps,
    which a killed run may have left, are dropped, so the file is that of one uninterrupted run.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        """Opens the files.

        Args:
            folder: where they lie.
            start: step from which the run goes on.
        """
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / CSV_FILE
        self._keep(start)
        self._rewrite()
        self._file = self.path.open('a', newline='')
        self._csv = csv.writer(self._file)
        self._events = SummaryWriter(str(folder / 'tensorboard'), purge_step=start + 1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a step."""
        super().write(step, metrics)
        for name, value in metrics.items():
            self._csv.writerow((step, name, repr(float(value))))
            self._events.add_scalar(name, float(value), step)
        self._file.flush()
        self._events.flush()

    def _rewrite(self) -> None:
        new = self.path.with_suffix('.new')
        with new.open('w', newline='') as file:
            table = csv.writer(file)
            table.writerow(_FIELDS)
            for name, points in self.values.items():
                table.writerows((step, name, repr(value)) for step, value in points.items())
        new.replace(self.path)  # a process that is killed leaves the old file or the new one

    def _keep(self, start: int) -> None:
        if not start or not self.path.is_file():
            return
        with self.path.open(newline='') as file:
            for row in csv.reader(file):
                # A line that was cut short, as by a full disk, is not worth a run.
                with contextlib.suppress(ValueError, IndexError):
                    step, name, value = int(row[0]), *row[1:]
                    if step <= start:
                        super().write(step, {name: float(value)})


def draw_curves(values: Mapping[str, Mapping[int, float]], file: Path) -> None:
    """Draws one panel a metric.

    Args:
        values: metric to its value by step.
        file: the picture to write.
    """
    from matplotlib.figure import Figure  # imported late: takes a second

    names = sorted(values)
    if not names:  # a run shorter than its first report
        return
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout='constrained')
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.plot(list(values[name]), list(values[name].values()), linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel('step', fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
