"""I2, I6: one document for each key, a claim for each document."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.simulation.invariants.view import View


def check_claims(view: View, ledger: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    kinds = ("order_placed", "dispatch_confirmed", "invoice", "refund_issued", "stock_document")
    for k, lying in documents.items():
        if len(lying) > 1:
            view.report(f"I2: {k} has {len(lying)} documents: {[(d['entity'], d['DocEntry']) for d in lying]}")
        row = view.claims.get(k)
        if row is None or row["U_STATE"] != "posted":
            view.report(f"I6: {lying[0]['entity']} {lying[0]['DocEntry']} with key {k} has the claim {row}")
    for row in ledger["claims"]:
        if row["U_STATE"] == "posted" and row["U_KIND"] in kinds and row["Code"].partition(".")[0] not in documents:
            view.report(f"I6: claim {row['Code']} has no document")
    # By what people know it by, whatever K says
    for entity in ("Orders", "CreditNotes"):
        named = Counter(d["NumAtCard"] for d in ledger["documents"] if d["entity"] == entity)
        for number, count in named.items():
            if count > 1:
                view.report(f"I2: {count} {entity} have the number {number}")
