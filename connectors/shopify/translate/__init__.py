"""Shopify's records as events. Pure.

Shopify has one order that changes, we have facts that do not. Its lines as they were placed are one `order_placed`.
What an edit or an exchange adds is an order of its own (`<order>-<agreement>`), since a published fact cannot be
changed. What an edit, a refund or a cancellation takes off before it was sent is an `order_cancelled`; what a refund
brings back of goods that were sent is a `refund_issued`. Which units were sent when a refund came follows from the
fulfilments before
it, never from how the order stands now: so a fact is the same whenever it is read.

`context` is what all of it shares, `orders` puts an order's changes together, `parts` finds the orders within an order,
`units` follows units through fulfilments and refunds, `taxes` names tax codes, `placed`, `dispatches` and `refunds`
make events, `balance` explains a refund's money, `levels` reads counts.
"""
