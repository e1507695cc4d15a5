"""What the owner of a dead letter does, one text a reason: shown by `streams dlq show`, and in docs/runbooks."""

from collections.abc import Mapping

_REPLAY = "then streams dlq plan and replay"
_CORRECT = "streams dlq edit ID, then plan and replay"

RUNBOOKS: Mapping[str, str] = {
    "unreadable": "Nobody can read these bytes. Find who writes to the topic or the file, have the event sent again, and discard this one.",
    "invalid_event": f"A field breaks the contract; the error names it. Correct it at the source so that it stays away, and here: {_CORRECT}.",
    "unknown_schema": f"A newer producer wrote it. Upgrade this installation to a version that has the schema, {_REPLAY}.",
    "poison": f"Reading it ended a process or broke one of our rules. Give the dead letter to the developers; after a fixed version, {_REPLAY}.",
    "id_reuse": "The source used an identity twice with different content; the first stands. If the second is right, cancel and send it under a new id; discard this one.",
    "key_conflict": "B1 has a claim or a document under this key that is another kind. Look it up in U_STREAMS_CLAIM and decide which one is right; never delete a claim row.",
    "too_old": "It is older than dedupe_horizon_days, so nobody can tell whether it was counted. Compare with the stock in B1, key the difference by hand if there is one, and discard it.",
    "unmapped_location": f"Add the place to companies.*.warehouses or connectors.*.locations, restart, {_REPLAY}.",
    "unmapped_item": f"Add the sku to companies.*.items, restart, {_REPLAY}.",
    "unmapped_tax_code": f"Add the code or the rate to companies.*.tax.codes, restart, {_REPLAY}.",
    "unmapped_carrier": f"Add carrier/service to companies.*.shipping_types, restart, {_REPLAY}. Invoices of these dispatches wait until then.",
    "location_not_owned": f"Another system owns this warehouse's count. Stop the reports of this one, or change companies.*.warehouses.*.owner, restart, {_REPLAY}.",
    "customer_incomplete": f"The customer policy needs what the order lacks. Add it in the shop and here ({_CORRECT}), or make the business partner in B1, {_REPLAY}.",
    "address_incomplete": f"The error names the fields. Ask the customer, add them in the shop, and here: {_CORRECT}.",
    "total_mismatch": f"Our sum or B1's differs from the shop's total. Find which line, tax or freight differs; fix the mapping or the tax code in B1, {_REPLAY}; or {_CORRECT}.",
    "over_delivered": f"More left than was ordered and open. Count the goods; correct the dispatch ({_CORRECT}), or raise the order in B1, {_REPLAY}.",
    "over_cancelled": "More was cancelled than is open: it has been delivered, or cancelled before. If goods come back a refund will bring them; discard this one.",
    "over_credited": f"More was refunded than invoiced. If the money is really out, key the difference by hand in B1 and discard this; else {_CORRECT}.",
    "batch_or_serial_missing": f"B1 wants batch or serial numbers. Get them from the warehouse, {_CORRECT}.",
    "not_permitted": f"Our user lacks a permission in B1. Grant what B1 names in General Authorizations, {_REPLAY}.",
    "erp_refused": f"B1 says no in its own words, which the error quotes; (n) is the company's own notification procedure. Fix what it names in B1, {_REPLAY}.",
    "erp_cannot": f"B1 breaks on this document while others pass; it was made impossible before it was given up. Look into B1's and the Service Layer's log for the time of the attempts, and into SBO_SP_TransactionNotification; after the fix, {_REPLAY}.",
    "foreign": "The record belongs to another company or is none of ours. Put companies.*.partition back as it was, find who else writes to the topic, and replay or discard it.",
    "order_not_found": "It waits for its order. See whether the shop's connector is held (streams status) or the order is dead (streams order ID); if the order was never taken, key it by hand in B1 or discard this.",
    "invoice_not_found": "It waits for an invoice of its order. See whether the dispatch has been posted (streams order ID); if the order is invoiced by hand, it goes on by itself when that is done.",
    "unknown_item": "Make the item in B1, or map the sku in companies.*.items; it goes on by itself, at once with streams dlq retry-now.",
    "inactive_item": "Set the item active for the posting date in B1; it goes on by itself, at once with streams dlq retry-now.",
    "item_frozen": "A stock count has frozen the item. End the count in B1; it goes on by itself, at once with streams dlq retry-now.",
    "period_closed": "The posting date lies in a closed period or outside the allowed range. Open the period, or agree with finance on another date and correct it by streams dlq edit; it goes on by itself.",
    "rate_missing": "Enter the exchange rate of the posting date in B1; it goes on by itself, at once with streams dlq retry-now.",
    "negative_stock": "B1 has less than what left. Look for a receipt or a transfer that is missing (streams item, the inbox); when B1 has the stock, it goes on by itself.",
    "approval_required": "B1 made a draft. Approve or reject it in B1; approved it is taken over, rejected discard this.",
    "item_locked": "Somebody holds the item open in a B1 client. Ask them to close it; it goes on by itself, at once with streams dlq retry-now.",
    "channel_refused": "The channel says no in its own words, which the error quotes: a sku that it does not have, a state of the order, a right of our user. Fix that there or in its settings; the next change in B1 is sent by itself.",
    "format_refused": "A field has a form that the channel does not take; the error names it and the rule. Correct it in B1; it goes by itself.",
    "order_incomplete": "B1's order lacks what a parcel needs; the error names the fields. Fill them in, in B1; it goes by itself.",
}  # fmt: skip
