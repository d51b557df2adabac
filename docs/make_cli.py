"""Prints docs/cli.md: the help of every command, as the program prints it."""

import os
import sys
from contextlib import redirect_stdout
from io import StringIO

os.environ["COLUMNS"] = "100"
os.environ["TERM"] = "dumb"

from mss_cli.main import build, main


def help_of(arguments: list[str]) -> str:
    text = StringIO()
    with redirect_stdout(text):
        main([*arguments, "--help"])
    return text.getvalue().rstrip()


def page() -> str:
    parts = ["# Commands", "", "Made from `--help` by `python docs/make_cli.py > docs/cli.md`.", ""]
    for arguments in ([], *([command.name or ""] for command in build().registered_commands)):
        title = " ".join(["mss-cli", *arguments])
        parts += [f"## `{title}`", "", "```text", help_of(arguments), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
