"""I6: each claim stands for one document, each document for one claim; no draft is open."""

from tests.chaos.invariants.view import View


def check_claims(view: View) -> None:
    for k, claim in view.claims.items():
        documents = view.documents.get(k, [])
        bare = claim.get("U_STATE") in ("void", "discarded") or claim.get("U_KIND") == "order_cancelled"
        if len(documents) != (0 if bare else 1):
            kind = "double" if len(documents) > 1 else "claim"
            view.report(kind, f"claim {k}", "no document" if bare else "1 document", len(documents))
        if k not in view.expected_ks and claim.get("U_STATE") != "void":
            view.report("document", f"claim {k}", "an event of the files", "none")
    for k, documents in view.documents.items():
        if k not in view.claims:
            view.report("claim", f"documents of {k or 'no key'}", "a claim", f"none for {len(documents)}")
    for draft in view.evidence.ledger["drafts"]:
        if draft.get("DocumentStatus") == "bost_Open":
            view.report("document", f"draft {draft['DocEntry']}", "no open draft", draft.get("DocObjectCode"))
