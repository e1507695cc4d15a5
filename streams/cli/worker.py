"""`streams worker`: agents and posters; any number of processes."""

from streams.cli import service, shell


def run(config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run agents and posters, until SIGTERM."""
    service.serve(shell.read_config(config), {"worker": service.part("streams.worker.main")})
