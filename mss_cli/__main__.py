"""Runs the command: `mss-cli` and `python -m mss_cli`."""

import sys

from mss_cli.main import main


def run() -> None:
    """Run with the arguments of this process and leave with the run's exit code."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
