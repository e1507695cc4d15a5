"""`streams connect`: connectors; any number of processes."""

from streams.cli import service, shell


def run(config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run connectors, until SIGTERM."""
    service.serve(shell.read_config(config), {"connect": service.part("streams.connect")})
