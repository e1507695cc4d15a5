"""`streams worker`: agents and posters; any number of processes."""

from streams.cli import shell


def run(config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run agents and posters, until SIGTERM."""
    from streams.cli import service

    service.serve(shell.read_config(config, "companies", "notices"), {"worker": service.part("streams.worker.main")})
