"""Shopify's GraphQL Admin API, version 2026-04: orders, edits, cancellations, fulfilments, refunds, inventory levels.

Pages relied on, read 2026-11-21: shopify.dev "GraphQL Admin API rate limits", "API versioning", "Bulk operations", the
objects Order, SalesAgreement, Fulfillment, Refund, InventoryLevel, "Verify webhook deliveries", "Ignore duplicate
webhooks". Limits: a bucket of points that refills at 100/s on the standard plan, 1000 points for one query, 250 rows a
page; 60 days of orders without the scope read_all_orders.
"""
