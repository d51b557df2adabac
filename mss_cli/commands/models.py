"""`mss-cli models`: what `--model` takes."""

import json as json_module
from dataclasses import asdict

import typer

from mss_cli.stdout import write_line
from mss_cli.weights.manifest import DEFAULT, ENTRIES


def command(json: bool = typer.Option(False, "--json", help="One JSON array on stdout.")) -> None:
    """List the models: name, stems, rate, licence."""
    if json:
        rows = [{**asdict(entry), "default": entry.name == DEFAULT} for entry in ENTRIES]
        write_line(json_module.dumps(rows, indent=2))
        return
    for entry in ENTRIES:
        mark = " (default)" if entry.name == DEFAULT else ""
        write_line(f"{entry.name}{mark}: {', '.join(entry.stems)}; {entry.sample_rate} Hz; {entry.licence}")
        write_line(f"    {entry.description}")
