"""`streams status`: how far every flow is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streams.cli import shell

if TYPE_CHECKING:
    from streams.config.load import Config
    from streams.query.status import Status


def run(config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """How many events of each flow were received and how they ended, and whether anything is under way."""
    found = shell.run_async(_read(shell.read_config(config)))
    if as_json:
        shell.print_json(found.as_json())
        return
    rows = [
        (name, f.received, f.posted, f.no_op, f.parked, f.dead, f.in_flight, f.oldest_unposted_s or "")
        for name, f in found.flows.items()
    ]
    shell.print_table(["flow", "received", "posted", "no_op", "parked", "dead", "in flight", "oldest (s)"], rows)
    for name, files in found.unmapped.items():
        shell.print_line(
            f"{name} reads none of: {', '.join(files)}; name them *.jsonl, add a csv or json mapping, or take them away"
        )
    for name, events in found.contradictions.items():
        shell.print_line(
            f"{name}: {events} more have ended than were published; was a topic made anew, or emptied? "
            "Run streams topics check"
        )
    for component in found.held:
        shell.print_line(f"{component.state}: {component.kind} {component}")
    shell.print_line("idle: nothing in flight, no unread file" if found.idle else "busy: work is under way or waits")


async def _read(config: Config) -> Status:
    from streams.query import status

    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        return await status.read(log, config, codec, int(time.time() * 1000))
