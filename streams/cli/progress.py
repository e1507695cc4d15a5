"""Long work on a terminal: a bar that is drawn over; elsewhere a line now and then. On stderr.

What is asked for is on stdout.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from streams.cli import shell
from streams.telemetry.text import escape

#: Between two lines where nobody has a terminal.
LINE_S = 10.0


class Bar:
    """One bar, with words beside it. Use as a context manager.

    Args:
        title: What is being done.
        monotonic: For tests.
    """

    def __init__(self, title: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._console = shell.errors_console()
        self._title, self._monotonic = title, monotonic
        self._printed_at = monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TaskProgressColumn(),
                TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
                console=self._console,
                expand=True,
            )
            self._task = self._progress.add_task(escape(self._title), total=1.0, words="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, part: float, words: str) -> None:
        """How much is done, 0 to 1, and what is being done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=part, words=escape(words))
        elif (now := self._monotonic()) - self._printed_at >= LINE_S:
            self._printed_at = now
            self._console.print(f"{escape(self._title)}: {part:.0%}, {escape(words)}", markup=False)
