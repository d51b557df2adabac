"""Runs the command: `mss-cli` and `python -m mss_cli`."""

import signal
import sys

# Until `main` takes over, Ctrl-C ends the process at once instead of printing where Python was.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mss_cli.main import main


def run() -> None:
    """Run with the arguments of this process and leave with the run's exit code."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
