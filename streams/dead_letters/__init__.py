"""Refused, waiting and held events: their bytes, their states, who waits for whom (D5)."""
