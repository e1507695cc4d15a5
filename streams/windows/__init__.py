"""Stock movements per input partition: collected, judged and sealed into epochs (D3)."""
