"""SAP Business One (10.0, FP 2405 or later) through its Service Layer, OData v4 (`/b1s/v2`).

`service_layer` is the door: sessions, $batch, and every foreign exception translated once. `sink` writes documents
exactly once by a claim row in the same change set; `claims` installs and proves that; `error_codes` is the one table
of what an answer means; `master_data` asks for items, warehouses, tax codes and customers in few queries; `doctor`
says what a company's B1 really does.

Relied on: SAP, "Working with SAP Business One Service Layer" (1.22 and 1.29) and "Service Layer API Reference" (OData
v4); field notes of public clients where those are silent. Read 2026-11-21.
"""
