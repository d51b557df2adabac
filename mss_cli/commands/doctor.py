"""`mss-cli doctor`: what is installed, what works, and a one-second self test."""

import json as json_module

import typer

from mss_cli.errors import ExitCode
from mss_cli.stdout import write_line


def command(json: bool = typer.Option(False, "--json", help="One JSON object on stdout.")) -> int:
    """Show versions, devices, formats and weights, and separate one second of generated sound."""
    from mss_cli.separation.diagnosis import diagnose

    found = diagnose()
    if json:
        write_line(json_module.dumps(found.as_json(), indent=2, allow_nan=False))
    else:
        for heading, lines in found.sections():
            write_line(heading)
            for line in lines:
                write_line(f"    {line}")
    return ExitCode.OK if found.self_test.passed else ExitCode.INTERNAL
