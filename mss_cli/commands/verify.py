"""`mss-cli verify`: are the files of an output folder those of their records."""

import json as json_module
from pathlib import Path

import typer

from mss_cli.console.words import printable
from mss_cli.errors import ExitCode, InputError
from mss_cli.stdout import write_line


def command(
    folder: str = typer.Argument(..., metavar="DIR", help="Output folder of `mss-cli separate`, on disk or a store."),
    json: bool = typer.Option(False, "--json", help="One JSON object on stdout."),
) -> int:
    """Hash every file of every record below DIR; print what is missing or changed."""
    from mss_cli.batch.decisions import verify
    from mss_cli.batch.stores.addresses import is_address
    from mss_cli.batch.stores.verifying import verify_store

    records = files = 0
    damaged = []
    for found in verify_store(folder) if is_address(folder) else verify(Path(folder)):
        records, files = records + 1, files + found.files
        if found.troubles:
            damaged.append(found)
            for trouble in found.troubles if not json else ():
                write_line(printable(f"{found.record}: {trouble}"))
    if not records:
        raise InputError("no records below this folder", path=folder, hint="name the output folder of a run")
    if json:
        rows = [{"record": printable(str(one.record)), "troubles": list(one.troubles)} for one in damaged]
        write_line(json_module.dumps({"records": records, "files": files, "damaged": rows}, indent=2))
    else:
        write_line(f"{files} files of {records} tracks hashed: {len(damaged)} tracks are not as recorded")
    return ExitCode.PARTIAL if damaged else ExitCode.OK
