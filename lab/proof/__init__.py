"""The ledger proof: `run.prove` collects the evidence, checks one invariant after another, and gives the verdict.

Evidence: `events` (what went in), `dead_letters`, `documents` and `evidence` (what is in the books), `terms`.
Invariants, one a file: `ends`, `orders`, `dispatches`, `invoices`, `refunds`, `adjustments`, `movements`, `shelves`,
`claims`, `drafts`, `strays`. They report to `findings`. `verdict` is what comes out, `render` shows it.
"""
