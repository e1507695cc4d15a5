"""Simulators of the systems we talk to: for tests, the demo and users without a licence.

Written from the vendors' documentation. They import none of our client code, keep a ledger that a checker can read,
and inject the faults of the field. `sap_b1` is SAP Business One's Service Layer; `magento`, `shopify`, `veeqo` and
`seko` are the vendors; `vendors` serves each of them (`python -m lab.simulators NAME`) with one vocabulary of actions
for all. `wire` is what they share of ASGI.
"""
