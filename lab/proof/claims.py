"""Invariant: each claim stands for one document, each document for one claim; a withdrawn one has none."""

from collections import defaultdict
from typing import Any

from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_claims(evidence: Evidence, findings: Findings) -> None:
    """Each claim stands for one document, each document for one claim; a withdrawn one has none."""
    keyed: dict[str, list[str]] = defaultdict(list)
    for document in evidence.ledger["documents"]:
        if document.get("CancelStatus") == "csCancellation":
            continue
        name = f"{document['entity']} {document['DocNum']}"
        if document.get("U_STREAMS_KEY"):
            keyed[document["U_STREAMS_KEY"]].append(name)
        else:
            findings.report("claim", name, "U_STREAMS_KEY", "none")
    # An event that was withdrawn and is tried anew has another row, K.1, K.2 ...: one document for all of them
    attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for claim in evidence.ledger["claims"]:
        if claim.get("U_KIND") == "proof":
            continue  # the doctor's, which says the tier
        attempts[claim["Code"].partition(".")[0]].append(claim)
    for code, rows in attempts.items():
        standing = [row for row in rows if row.get("U_STATE") != "void"]
        claim, documents = (standing or rows)[0], keyed.pop(code, [])
        if len(standing) > 1:
            findings.report("claim", f"claim {code}", "1 attempt that stands", str(len(standing)))
        bare = claim.get("U_STATE") in ("void", "discarded") or claim.get("U_KIND") == "order_cancelled"
        if len(documents) != (0 if bare else 1):
            kind = "double" if len(documents) > 1 else "claim"
            findings.report(
                kind, f"claim {code}", "no document" if bare else "1 document", ", ".join(documents) or "none"
            )
    for code, documents in keyed.items():
        findings.report("claim", f"claim {code}", f"a row for {', '.join(documents)}", "none")
