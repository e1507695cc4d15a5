"""What one connector is tried on."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.base.clock import Clock
from connectors.base.settings import ConnectorSettings
from connectors.base.source import Source

#: Stands for every secret and every piece of personal data of a case: nothing that is shown may have it.
CANARY = "canary-5ecret"


def _fill_nothing(_folder: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's system is made with the source."""


@dataclass(frozen=True, kw_only=True)
class ConformanceCase:
    """A vendor's system with a handful of records in it, read in several batches, and what one run over it comes to.

    Attributes:
        settings_model: The connector's settings.
        settings: Its `[connectors.wms]`, without company.
        source: Makes the source of name, settings, clock and folder, with the vendor's system in place of the network.
        facts: Topic and identity of every event.
        published: Events, repeats included; None: each fact once.
        letters: Topic, bytes, reason and origin of each record that cannot be taken.
        refused: What the cursor counts of them.
        deltas: Of the stock events, by event id.
        no_op: What the cursor counts of levels.
        environ: Its secrets; their values have `CANARY` in them.
        first: The topic that the first batch publishes to; not the last one alone.
        fill: Puts the records there.
        refill: Undoes tidying up.
        serve: What has to run meanwhile.
    """

    settings_model: type[ConnectorSettings]
    settings: dict[str, Any]
    source: Callable[[str, Any, Clock, Path], Source]
    facts: frozenset[tuple[str, ...]]
    published: int | None = None
    letters: tuple[tuple[str, bytes, str, str], ...] = ()
    refused: dict[str, int] = field(default_factory=dict)
    deltas: dict[str, Decimal] = field(default_factory=dict)
    no_op: dict[str, int] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    first: str = "stock-adjusted"
    fill: Callable[[Path, pytest.MonkeyPatch], None] = _fill_nothing
    refill: Callable[[Path], None] = lambda _folder: None
    serve: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
