"""Who waits for whom and for how long before an outside system is written to; knows no system (D4)."""
