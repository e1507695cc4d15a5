"""`streams demo`: the whole thing on this machine."""

import importlib

import typer

from streams.cli import shell


def run(as_json: shell.JsonOption = False) -> None:
    """Run a broker, simulators, workers and connectors here, on real input, ending in the ledger proof."""
    code: int = importlib.import_module("streams.demo.run").run(as_json=as_json)
    if code:
        raise typer.Exit(code)
