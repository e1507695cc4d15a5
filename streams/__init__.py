"""The inside: Faust, windows, posting, dead letters, and the command line over them."""
