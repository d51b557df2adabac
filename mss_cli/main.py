"""Assembles the commands; the only place that turns exceptions and signals into exit codes."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from mss_cli.commands import doctor, download_weights, evaluate, models, separate, train, verify
from mss_cli.console.console import Console, Output
from mss_cli.errors import ExitCode, Interruption, MssError, OutputError, UsageError
from mss_cli.events import RunStarted
from mss_cli.stdout import write_line
from mss_cli.version import version

HELP = "Separate recorded music into stems: vocals, drums, bass, other."
# Functions that PyAV and soundfile call from C, and after how long a signal that met one is tried again.
_CALLBACKS = ("_Source.", "SoundFile._init_virtual_io.")
_LATER_SECONDS = 0.01
# Commands whose `--json` is a stream of events and so always ends with `run_finished`.
_EVENT_COMMANDS = ("separate", "evaluate", "train", "download-weights")
# Flags with which such a command prints one array instead.
_LISTS = ("--list", "--verify", "--remove")


def build() -> typer.Typer:
    """Assemble the command line."""
    app = typer.Typer(
        name="mss-cli", help=HELP, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=False
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        show_version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    ) -> None:
        if show_version:
            write_line(f"mss-cli {version()}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            write_line(context.get_help())
            raise typer.Exit

    app.command("separate")(separate.command)
    app.command("evaluate")(evaluate.command)
    app.command("train")(train.command)
    app.command("verify")(verify.command)
    app.command("models")(models.command)
    app.command("download-weights")(download_weights.command)
    app.command("doctor")(doctor.command)
    return app


def main(arguments: Sequence[str]) -> int:
    """Run one command line.

    Parameters
    ----------
    arguments : sequence of str
        Without the program's name.

    Returns
    -------
    int
        An `ExitCode`; after a signal the process ends by that signal instead, as shells expect.
    """
    output = Output(json=_wants_events(arguments), debug="--debug" in arguments)
    _open_missing_streams()
    console = Console(output)
    with _signals():
        try:
            console(RunStarted(version=version(), command=next(iter(_words(arguments)), "")))
            code = console.finish(_run(arguments, console))
            sys.stdout.flush()
        except (MssError, OSError):
            # stdout itself failed: there is nowhere left to say it but stderr.
            output.json = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            console.fail(OutputError("cannot write to stdout", hint="check where it goes"))
            return console.finish(ExitCode.OUTPUT)
        except Interruption as interruption:
            _end_by_signal(interruption.number, console)
            return 128 + interruption.number
    return code


def _run(arguments: Sequence[str], console: Console) -> int:
    try:
        result = build()(list(arguments), standalone_mode=False, prog_name="mss-cli", obj=console)
        return int(result or 0)
    except typer.TyperException as error:
        usage = UsageError(error.format_message().rstrip("."), hint=_help_hint(arguments))
        console.fail(usage)
        return usage.code
    except MssError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        console.fail(error)
        return error.code
    except typer.Exit:
        raise
    except Exception as error:
        return _internal(error, console, debug="--debug" in arguments)


def _internal(error: Exception, console: Console, *, debug: bool) -> int:
    """Save the traceback of a bug of ours and say where."""
    text = traceback.format_exc()
    if debug:
        sys.stderr.write(text)
    with tempfile.NamedTemporaryFile(
        "w", prefix="mss-cli-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as report:
        report.write(f"mss-cli {version()}, Python {sys.version}\n{text}")
    hint = f"this is a bug; please report it with `{report.name}`"
    console.fail(MssError(f"internal error: {type(error).__name__}: {error}", hint=hint))
    return ExitCode.INTERNAL


def _open_missing_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr an empty one in its place."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def _words(arguments: Sequence[str]) -> Iterator[str]:
    return (word for word in arguments if not word.startswith("-"))


def _wants_events(arguments: Sequence[str]) -> bool:
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    command = next(iter(_words(arguments)), "")
    lists = command == "download-weights" and any(flag in flags for flag in _LISTS)
    return "--json" in flags and command in _EVENT_COMMANDS and not lists


def _help_hint(arguments: Sequence[str]) -> str:
    command = next(iter(_words(arguments)), "")
    return (
        f"see `mss-cli {command} --help`"
        if command in ("separate", "evaluate", "train", "verify", "models", "download-weights", "doctor")
        else "see `mss-cli --help`"
    )


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into `Interruption`; one that was ignored at the start stays ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in caught:
            signal.signal(other, signal.SIG_IGN)  # clean up once, undisturbed
        if _inside_callback(frame):
            signal.signal(signal.SIGALRM, lambda _, later: interrupt(number, later))
            signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)
            return
        raise Interruption(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    caught = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    try:
        for number in caught:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


def _inside_callback(frame: FrameType | None) -> bool:
    """Tell whether a C library has called us back: it would print an exception, drop it, and go on."""
    while frame is not None:
        if frame.f_code.co_qualname.startswith(_CALLBACKS):
            return hasattr(signal, "setitimer")
        frame = frame.f_back
    return False


def _end_by_signal(number: int, console: Console) -> None:
    """Close the run, then die by the signal itself, so that shells and parents see what happened."""
    console.close_bar()
    if number == ExitCode.SIGPIPE - 128:
        # The reader of stdout went away: nothing to say, and nothing more may be flushed there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        console.output.json, console.output.quiet = False, True
        console.finish(ExitCode.SIGPIPE)
        return
    console.finish(128 + number, message=f"stopped by {signal.Signals(number).name}")
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
