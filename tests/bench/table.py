"""The table of a run, and its last line."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.harness import Verdict

_STYLES = {"ok": "green", "missed": "bold red", "once": "yellow", "-": "dim"}
_WORDS = {"ok": "holds", "missed": "MISSED", "once": "holds (missed once)", "-": "not judged"}


def print_verdicts(console: Console, verdicts: Sequence[Verdict], machine: dict[str, Any]) -> None:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    figures = Table(
        "benchmark",
        "what",
        "median",
        "min",
        "max",
        "unit",
        "n",
        "note",
        title="Figures",
        title_justify="left",
        box=None,
        header_style="bold",
        caption_justify="left",
        caption=f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}; Python {machine['python']}, "
        f"{libraries}",
    )
    checks = Table(
        "benchmark",
        "bar",
        "value",
        "of all tries",
        "",
        "limit",
        "verdict",
        "note",
        title="Bars",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for verdict in verdicts:
        last = verdict.tries[-1]
        for figure in last.figures:
            values = (figure.median, min(figure.values), max(figure.values))
            figures.add_row(
                verdict.name, figure.name, *map(number, values), figure.unit, str(len(figure.values)), figure.note
            )
        for check in last.checks:
            state = verdict.state(check)
            tries = [one.value for outcome in verdict.tries for one in outcome.checks if one.name == check.name]
            word = f"[{_STYLES[state]}]{_WORDS[state]}[/]"
            checks.add_row(
                verdict.name,
                check.name,
                number(check.value),
                " ".join(map(number, tries)) if len(tries) > 1 else "",
                check.unit,
                str(check.bar.of(quick=verdict.quick)),
                word,
                check.note,
            )
    console.print(figures)
    console.print()
    console.print(checks)
    console.print()


def number(value: float) -> str:
    """Three figures, as many as mean anything."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    missed = [f"{verdict.name}: {name}" for verdict in verdicts for name in verdict.missed()]
    judged = sum(verdict.state(check) != "-" for verdict in verdicts for check in verdict.tries[-1].checks)
    if missed:
        return (
            f"bench: {len(missed)} of {judged} bars MISSED in two of three tries ({'; '.join(missed)}), {seconds:.0f} s"
        )
    return f"bench: all {judged} bars hold, {seconds:.0f} s"
