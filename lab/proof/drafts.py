"""Invariant: no document waits as an open draft."""

from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_drafts(evidence: Evidence, findings: Findings) -> None:
    for draft in evidence.ledger["drafts"]:
        if draft.get("DocumentStatus") == "bost_Open":
            findings.report("document", f"draft {draft['DocEntry']}", "no open draft", str(draft.get("DocObjectCode")))
