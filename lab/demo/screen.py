"""What the demo shows while it runs.

A screen that is drawn anew, or a line now and then where nobody has a terminal.
"""

import io
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from streams.query.status import FlowStatus

_LINE_EVERY_S = 5.0
_SHOWN = 5  # messages on the screen
_PICTURE_WIDTH = 100

# As rich's own, but without @font-face: a picture in a README must not fetch anything.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the screen shows of one moment.

    Attributes:
        elapsed_s: Since the demo began.
        phase: What it is doing, in words.
        written, lines: Lines of the files: put in so far, and all.
        flows: As `streams status` has them.
        rates: FlowStatus -> events received and posted per second, over the last seconds.
        reasons: Reason -> dead letters of it that are open, parked ones included.
        windows: Stock windows sealed.
        lanes, queued: Items that the poster is at work on, and those of them that another posting waits for.
        documents, calls: In B1, as it counts.
        waits_people, waits_own: Waits for a lock in B1: because of people, and because of another request of ours.
        replies_lost: Writes that B1 committed and never answered.
        locked: Items that people have open now.
        locks: How often people opened one.
        killed: Workers.
    """

    elapsed_s: float = 0
    phase: str = ""
    written: int = 0
    lines: int = 0
    flows: Mapping[str, FlowStatus] = field(default_factory=dict)
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    windows: int = 0
    lanes: int = 0
    queued: int = 0
    documents: int = 0
    documents_per_s: float = 0
    calls: int = 0
    waits_people: int = 0
    waits_own: int = 0
    replies_lost: int = 0
    locked: Sequence[str] = ()
    locks: int = 0
    killed: int = 0

    def total(self, end: str) -> int:
        """Events of all flows: `received`, `posted`, `in_flight`, ..."""
        return sum(getattr(flow, end) for flow in self.flows.values())


@dataclass(frozen=True, slots=True)
class ScreenMessage:
    elapsed_s: float
    text: str
    is_fault: bool = False


def render(now: Snapshot, messages: Sequence[ScreenMessage] = ()) -> RenderableType:
    """The screen; 24 lines at most."""
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(justify="right")
    head.add_column(ratio=1)
    head.add_column(justify="right")
    head.add_row(
        _clock(now.elapsed_s),
        Text(now.phase, style="bold"),
        f"{now.written:,} of {now.lines:,} lines written",
    )
    bar = ProgressBar(total=max(1, now.lines), completed=now.written)

    flows = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    flows.add_column("flow", no_wrap=True)
    for name in ("received", "posted", "no-op", "parked", "dead", "open", "in/s", "out/s", "oldest"):
        flows.add_column(name, justify="right", no_wrap=True)
    for name, flow in now.flows.items():
        if flow.received:
            received, posted = now.rates.get(name, (0.0, 0.0))
            counts = (flow.received, flow.posted, flow.no_op, flow.parked, flow.dead, flow.in_flight)
            flows.add_row(
                name,
                *(f"{count:,}" for count in counts),
                f"{received:.1f}",
                f"{posted:.1f}",
                f"{flow.oldest_unposted_s:.0f} s" if flow.oldest_unposted_s else "",
            )

    state = Table.grid(padding=(0, 1))
    state.add_column(style="dim", justify="right")
    state.add_column()
    state.add_row("windows", f"{now.windows:,} sealed; lanes: {now.lanes:,} at work, {now.queued:,} with a queue")
    state.add_row(
        "B1",
        f"{now.documents:,} documents ({now.documents_per_s:.0f}/s), {now.calls:,} calls; lock waits: {_waits(now)}",
    )
    state.add_row("dead letters", _reasons(now.reasons) or "none")
    state.add_row("done to it", Text(_faults(now), style="yellow"))
    for each in messages[-_SHOWN:]:
        state.add_row(
            _clock(each.elapsed_s),
            Text(each.text, "bold red" if each.is_fault else "", no_wrap=True, overflow="ellipsis"),
        )
    title = "b1-streams demo: a real shop, Apache Kafka, a simulated SAP Business One"
    return Panel(Group(head, bar, "", flows, "", state), title=title, title_align="left", border_style="blue")


def line(now: Snapshot) -> str:
    """The same for a log."""
    counts = ", ".join(f"{end.replace('_', ' ')} {now.total(end):,}" for end in ("received", "posted", "in_flight"))
    ends = ", ".join(f"{name} {count:,}" for name in ("parked", "dead") if (count := now.total(name)))
    return (
        f"{_clock(now.elapsed_s)}  {now.phase}: {counts}{', ' + ends if ends else ''}; "
        f"windows {now.windows:,}, lanes {now.lanes:,} ({now.queued:,} with a queue); B1: {now.documents:,} documents "
        f"({now.documents_per_s:.0f}/s), {now.calls:,} calls, lock waits {_waits(now)}; {_faults(now)}"
    )


def draw(*parts: RenderableType) -> str:
    """The parts below one another as an SVG that needs no fonts of its own."""
    console = Console(record=True, width=_PICTURE_WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    for part in parts:
        console.print(part)
    return console.export_svg(title="make demo", theme=MONOKAI, code_format=_SVG)


class ProgressScreen:
    """Tells people what happens: live at a terminal, in lines elsewhere and in CI.

    Lifecycle: as a context manager; `message` what has happened and `update` what it looks like.
    """

    def __init__(self, console: Console, *, live: bool | None = None) -> None:
        self.console = console
        self._is_live = (console.is_terminal and not os.environ.get("CI")) if live is None else live
        self._live: Live | None = None
        self._began = time.monotonic()
        self._due = 0.0
        self._now = Snapshot()
        self._messages: list[ScreenMessage] = []

    def __enter__(self) -> Self:
        if self._is_live:
            self._live = Live(self.screen, console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def screen(self) -> RenderableType:
        return render(self._now, self._messages)

    def message(self, text: str, *, is_fault: bool = False) -> None:
        shown = ScreenMessage(self.elapsed_s, text, is_fault)
        self._messages.append(shown)
        if self._live is not None:
            self._live.update(self.screen)
        else:
            self._print(f"{_clock(shown.elapsed_s)}  {text}")

    def update(self, now: Snapshot) -> None:
        self._now = now
        if self._live is not None:
            self._live.update(self.screen)
        elif now.elapsed_s >= self._due:
            self._due = now.elapsed_s + _LINE_EVERY_S
            self._print(line(now))

    def _print(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _waits(now: Snapshot) -> str:
    return f"{now.waits_people:,} for people, {now.waits_own:,} for ourselves"


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(reasons.items(), key=lambda each: -each[1]))


def _faults(now: Snapshot) -> str:
    locked = f" (now {', '.join(now.locked)})" if now.locked else ""
    return (
        f"replies lost {now.replies_lost:,}, items locked by people {now.locks:,}{locked}, workers killed "
        f"{now.killed:,}"
    )
