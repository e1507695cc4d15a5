"""`streams doctor [--install]`: what B1, Kafka, the registry and the vendors really do."""

from typing import Annotated

import typer

from streams.cli import shell


def run(
    config: shell.ConfigOption = shell.CONFIG,
    install: Annotated[bool, typer.Option("--install", help="Make the claim table and fields in B1")] = False,
    as_json: shell.JsonOption = False,
) -> None:
    """Examine B1, Kafka, the registry and the vendors; with --install make what is missing in B1."""
    from streams.cli.examination import examine

    settings = shell.read_config_and_secrets(config)
    found = shell.run_async(examine(settings, install=install))
    is_well = all(finding.ok for findings in found.values() for finding in findings)
    if as_json:
        parts = {
            part: [{"name": f.name, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings]
            for part, findings in found.items()
        }
        shell.print_json({"ok": is_well, "findings": parts})
    else:
        rows = [(part, f.name, f.verdict, f.detail, f.remedy) for part, each in found.items() for f in each]
        shell.print_table(["part", "check", "", "found", "what to do"], rows)
    if not is_well:
        raise typer.Exit(1)
