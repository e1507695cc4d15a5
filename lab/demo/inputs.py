"""Where the demo's sales come from: files by default, or the vendors' simulators (`vendors/`)."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from lab.demo.processes import Child
from lab.feed.configuration import simulator_config, streams_toml
from lab.feed.feed import Feed
from lab.feed.writer import FeedWriter, written_files

#: Starts a process of the demo, by name and command.
StartProcess = Callable[[str, list[str]], Awaitable[Child]]


@dataclass(frozen=True, slots=True)
class DemoEvidence:
    """All that went in, for the proof.

    Attributes:
        files: Connector -> its files, in the order in which they were read.
        vendor_events: Connector -> what its vendor's ledger says has happened.
        shelves: (sku, place) -> units that a vendor has there now.
    """

    files: Mapping[str, Sequence[Path]]
    vendor_events: Mapping[str, Iterable[dict[str, Any]]] = field(default_factory=dict)
    shelves: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)


class DemoInput(Protocol):
    """One way in.

    Lifecycle: `open`, then `configuration` and `simulator`; `connect` when the connectors run; `write` again and again;
    when nothing is `left`, `missing` until it says nothing; `evidence`.
    """

    @property
    def about(self) -> str:
        """What goes in, for people."""

    @property
    def lines(self) -> int:
        """Everything that goes in, counted as what happens in it."""

    @property
    def left(self) -> int:
        """So many of them are not in yet."""

    def moments(self, steps: int) -> list[datetime]:
        """So many times that cut it into parts of about equal size; the last is after everything."""

    def prepare(self) -> None:
        """Make the folders and files that it needs."""

    async def open(self, start: StartProcess) -> None:
        """Prepare, and start what it comes from."""

    def configuration(self, **connection: Any) -> str:
        """The `streams.toml`; takes what `feed.configuration` does."""

    def simulator(self, **b1: Any) -> dict[str, object]:
        """B1's configuration; takes what `feed.simulator` does."""

    async def connect(self, url: str) -> None:
        """The connectors run, their server for webhooks is at `url`; return when something may happen."""

    async def write(self, until: datetime) -> None:
        """Let happen what happened before `until` and has not happened yet."""

    async def missing(self, received: Mapping[str, int]) -> str:
        """After the last `write`: what the connectors cannot have seen yet, by the events received of each flow."""

    async def evidence(self) -> DemoEvidence:
        """What went in."""


class FileInput:
    """The shop's and the warehouse's files."""

    def __init__(self, made: Feed, folder: Path) -> None:
        self._made, self._folder = made, folder / "in"
        self._writer = FeedWriter(made.files, self._folder)

    @property
    def about(self) -> str:
        made = self._made
        return (
            f"{made.events:,} lines of {made.counts['order_placed']:,} orders and what followed, "
            f"{made.first} to {made.last} (shifted by whole weeks)"
        )

    @property
    def lines(self) -> int:
        return self._made.events

    @property
    def left(self) -> int:
        return self._writer.left

    def moments(self, steps: int) -> list[datetime]:
        return self._made.moments(steps)

    def prepare(self) -> None:
        for name in self._made.files:
            (self._folder / name).mkdir(parents=True, exist_ok=True)

    async def open(self, _start: StartProcess) -> None:
        self.prepare()

    def configuration(self, **connection: Any) -> str:
        return streams_toml(self._made, **connection)

    def simulator(self, **b1: Any) -> dict[str, object]:
        return simulator_config(self._made, **b1)

    async def connect(self, _url: str) -> None:
        return

    async def write(self, until: datetime) -> None:
        self._writer.write(until)

    async def missing(self, _received: Mapping[str, int]) -> str:
        return ""  # `streams status` knows of unread files

    async def evidence(self) -> DemoEvidence:
        return DemoEvidence(written_files(self._folder))
