"""`streams up`: everything on one machine."""

from streams.cli import shell


def run(config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run connectors, agents and posters on this machine, until SIGTERM."""
    from streams.cli import service

    parts = {"worker": service.part("streams.worker.main"), "connect": service.part("streams.connect.runner")}
    service.serve(shell.read_config_and_secrets(config), parts)
