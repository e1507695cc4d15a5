"""Veeqo: orders, shipments and counted stock, polled over its REST API (no version segment, read 2026-11-21).

Limits: 5 requests a second from a bucket of 100 per key, 100 rows a page, no webhooks, no movement feed, no sandbox.
Pages relied on: developers.veeqo.com "Rate limiting", "List All Orders", "Create a Shipment", "Show Stock Entry", and
github.com/VeeqoAPI/api-docs. What they leave open is a setting; the README beside this says how to find out.
"""
