"""How the demo ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lab.demo.screen import Snapshot
from lab.proof.render import render
from lab.proof.verdict import Proof


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How it ended.

    Attributes:
        last: The last screen.
        exit_codes: Of the processes that were asked to stop.
        sessions_left: Sessions in B1 of processes that had time to log out.
        sessions_orphaned: Of the killed one: B1 ends them after its timeout.
        seconds: Phase -> how long it took.
    """

    proof: Proof
    last: Snapshot
    exit_codes: Mapping[str, int]
    sessions_left: int
    sessions_orphaned: int
    seconds: Mapping[str, float]

    @property
    def ok(self) -> bool:
        return self.proof.ok and not any(self.exit_codes.values()) and not self.sessions_left

    @property
    def rendered(self) -> RenderableType:
        bad = ", ".join(f"{name} with {code}" for name, code in self.exit_codes.items() if code)
        ended = f"Stopped with SIGTERM: {bad or 'all with exit code 0'}; B1 sessions left open: {self.sessions_left}"
        orphans = f" ({self.sessions_orphaned} of the killed worker, which B1 ends in time)"
        took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        return Group(
            render(self.proof),
            Text(ended + (orphans if self.sessions_orphaned else ""), style="" if self.ok else "red"),
            Text(f"It took: {took}", style="dim"),
        )

    def as_json(self) -> dict[str, Any]:
        proof, last = self.proof, self.last
        return {
            "ok": self.ok,
            "lost": proof.count("lost"),
            "double": proof.count("double"),
            "discrepancies": [
                {"kind": one.kind, "where": one.where, "expected": one.expected, "found": one.found}
                for one in proof.discrepancies
            ],
            "flows": {
                name: {
                    "received": ends.received,
                    "posted": ends.posted,
                    "no_op": ends.no_op,
                    "parked": ends.parked,
                    "dead": ends.dead,
                    "unaccounted": ends.unaccounted,
                }
                for name, ends in proof.flows.items()
            },
            "letters": dict(proof.reasons),
            "units": {"files": str(proof.units_expected), "b1": str(proof.units_posted)},
            "money": {
                "ordered": str(proof.ordered),
                "invoiced": str(proof.invoiced),
                "credited": str(proof.credited),
            },
            "erp": {
                "calls": proof.calls,
                "document_sets": proof.document_sets,
                "previews": proof.previews,
                "refused": proof.refused,
                "documents": proof.documents,
                "calls_one_per_document": proof.naive_writes,
                "stock_events": proof.stock_events,
                "stock_documents": proof.stock_documents,
                "lock_waits_people": last.waits_people,
                "lock_waits_own": last.waits_own,
            },
            "faults": {"replies_lost": last.replies_lost, "locks": last.locks, "workers_killed": last.killed},
            "exit_codes": dict(self.exit_codes),
            "sessions": {"left_open": self.sessions_left, "of_the_killed": self.sessions_orphaned},
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
        }
