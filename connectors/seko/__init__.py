"""SEKO Logistics (iHub / SupplyStream, "SEKO 360").

What the warehouse did, pushed to us, and polled where a push is missing.

Pages relied on, read 2026-11-21: the SEKO / BigDigit wiki's "iHub - Push Notification Services", "Push Dispatch
Confirmation", "Push Goods Received Notice Confirmation", "Push Stock Adjustment", "Push Stock Status Movement",
"Calling services", "Response codes". Limits: pushes about every 15 minutes, at most 500 messages each, three tries; no
signature, no paging, no published rate. What they leave open is a setting; the README beside this says how to find out.
"""
