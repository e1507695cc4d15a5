"""Magento 2 Open Source and Adobe Commerce, REST `V1` (admin schema 2.4.6 to 2.4.9, read 2026-11-21).

Read only: orders, shipments, credit memos, and invoices where virtual goods leave with them. There is no rate limit and
there are no webhooks in Open Source: the poll is the truth. Times are UTC in whole seconds; lists take at most 300 rows
a page where the shop limits its input. Pages relied on: "Search using REST endpoints", "Token-based authentication",
"OAuth-based authentication", "Input limiting" (developer.adobe.com/commerce/webapi).
"""
