"""A progress bar with loss, speed and time left."""

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn
from rich.table import Column


class ProgressBar:
    """Shows the course of a run; a context manager."""

    def __init__(self, steps: int, console: Console | None = None) -> None:
        """Prepares a bar of so many steps, on standard output when no console is given."""
        # The words take what is left of the line: steps and time are never pushed out of it.
        words = Column(ratio=1, no_wrap=True, overflow='ellipsis')
        self._bar = Progress(
            TextColumn('[bold]Training'), BarColumn(bar_width=10), MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn('{task.fields[text]}', table_column=words), console=console, expand=True)
        self._task = self._bar.add_task('', total=steps, text='compiling')

    def __enter__(self) -> 'ProgressBar':
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Moves the bar."""
        parts = [f'loss {metrics["loss"]:.3f}'] if 'loss' in metrics else []
        if 'samples_per_s' in metrics:
            parts.append(f'{metrics["samples_per_s"]:.0f} samples/s')
        parts += [f'{name.split("/")[0]} {value:.3f}' for name, value in metrics.items()
                  if name.endswith('/error')]
        parts += [f'{name.split("/")[1].removesuffix("_all")} {value:.0%}'
                  for name, value in metrics.items()
                  if name.startswith('closed_loop/') and name.endswith('_all')]
        self._bar.update(self._task, completed=step, text='  '.join(parts))
