"""The ERP's only writer: what waits for whom, what goes together, and the loop that posts it (D2, D4)."""
