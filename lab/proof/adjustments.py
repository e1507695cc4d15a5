"""Invariant: stock documents add up to the adjustments, by item, warehouse, posting date and account."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings

_SIGN_OF_OBJECT = {59: 1, 60: -1}  # InventoryGenEntries, InventoryGenExits


def check_adjustments(evidence: Evidence, findings: Findings, events: Sequence[dict[str, Any]]) -> None:
    """Sums by item, warehouse, posting date and account: all that a netted document lets one see from outside."""
    wanted: dict[tuple[str, str, str, str], list[Decimal]] = defaultdict(list)
    for event in events:
        item, delta = evidence.terms.item(event["sku"]), Decimal(event["delta"])
        place = evidence.place(event, event["location"])
        account = evidence.terms.accounts.get(event["reason"], "")
        if event["reason"] == "transfer":
            account = "transfer"
            target = evidence.place(event, event["to_location"])
            findings.moves[item, target] -= delta
            wanted[item, target, evidence.day(event), account].append(-delta)
        findings.moves[item, place] += delta
        wanted[item, place, evidence.day(event), account].append(delta)
    there: dict[tuple[str, str, str, str], list[Decimal]] = defaultdict(list)
    for key, units in _stock_lines(evidence):
        there[key].append(units)
    for key in sorted({*wanted, *there}):
        expected, posted = sum(wanted.get(key, ()), ZERO), sum(there.get(key, ()), ZERO)
        where = "stock of {} in {} on {}, account {}".format(*key[:3], key[3] or "by B1")
        if expected != posted:
            kind = "lost" if abs(posted) < abs(expected) else "double"
            findings.report(kind, where, f"{expected:f} units", f"{posted:f} units")
            continue
        moved = [units for units in wanted.get(key, ()) if key[3] != "transfer" or units < 0]
        end = "posted" if key in there else "no_op"  # a net of nothing needs no document
        for _ in moved:
            findings.count("stock_adjusted", end)


def _stock_lines(evidence: Evidence) -> Iterator[tuple[tuple[str, str, str, str], Decimal]]:
    for document in (
        *evidence.documents["InventoryGenEntries"],
        *evidence.documents["InventoryGenExits"],
    ):
        for line in document["DocumentLines"]:
            key = (line["ItemCode"], line["WarehouseCode"], document["DocDate"][:10], line.get("AccountCode") or "")
            yield key, Decimal(line["Quantity"]) * _SIGN_OF_OBJECT[document["object"]]
    for document in evidence.documents["StockTransfers"]:
        for line in document["StockTransferLines"]:
            day = document["DocDate"][:10]
            yield (line["ItemCode"], line["FromWarehouseCode"], day, "transfer"), -Decimal(line["Quantity"])
            yield (line["ItemCode"], line["WarehouseCode"], day, "transfer"), Decimal(line["Quantity"])
