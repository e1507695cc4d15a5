"""Invariant: every dead letter belongs to a line of the input."""

from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_strays(evidence: Evidence, findings: Findings) -> None:
    for letter in evidence.letters:
        if letter.id not in findings.judged:
            what = f"{letter.reason}, {letter.state}"
            findings.report(
                "letter", f"dead letter {letter.id} in {letter.topic or 'no topic'}", "a line of the input", what
            )
