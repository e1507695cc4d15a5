"""Who changed what by which command, in a chain that shows whether it is whole."""
