"""From what B1 says to what its channels are told."""
