"""What the terminal shows."""

import io

from rich.console import Console

from lab.proof.documents import read_document
from lab.proof.render import render


def test_the_proof_sees_all_that_it_needs_of_a_document(case):
    whole = render(case.prove())
    case.ledger["documents"] = [read_document(document) for document in case.ledger["documents"]]
    found = case.prove()
    assert found.ok
    texts = []
    for one in (whole, render(found)):
        console = Console(file=io.StringIO(), width=200)
        console.print(one)
        texts.append(console.file.getvalue())
    assert texts[0] == texts[1]


def test_the_table_says_which_calls_it_counts(case):
    console = Console(file=io.StringIO(), width=200)
    found = case.prove()
    console.print(render(found))
    text = console.file.getvalue()
    assert f"{found.document_sets:,} ({found.naive_writes:,})" in text
    assert "previews" in text
    assert found.document_sets == found.documents  # the naive poster's, one for each


def test_the_table_names_at_most_the_first_twenty_discrepancies(case):
    for document in case.documents("Orders"):
        document["DocTotal"] = "0"
    console = Console(file=io.StringIO(), width=200)
    found = case.prove()
    console.print(render(found))
    text = console.file.getvalue()
    assert len(found.discrepancies) > 20
    assert text.count("│ money") == 20
    assert "NOT PROVED" in text


def test_the_table_of_a_right_ledger_says_so(case):
    console = Console(file=io.StringIO(), width=200)
    console.print(render(case.prove()))
    assert "PROVED: 0 lost, 0 double" in console.file.getvalue()
