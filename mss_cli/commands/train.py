"""`mss-cli train`: from a recipe to weights that `separate` and `evaluate` take."""

from pathlib import Path

import typer

from mss_cli.commands.numbers import check_finite
from mss_cli.console.console import Console
from mss_cli.errors import UsageError

_PACKAGES = ("lightning", "pydantic", "yaml", "scipy", "tensorboard")


def command(
    context: typer.Context,
    recipe: Path = typer.Argument(..., help="YAML file, as those in configs/train."),
    changes: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Change the recipe; may be repeated."),
    output: Path | None = typer.Option(None, "-o", "--output", help="Folder of the run; runs/NAME by default."),
    resume: str = typer.Option("auto", help="auto (go on if the folder holds a state), never, or a state's path."),
    device: str = typer.Option("auto", "-d", "--device", help="auto, cpu, cuda or mps."),
    devices: int = typer.Option(1, min=1, help="How many devices."),
    nodes: int = typer.Option(1, min=1, help="How many machines; the program is started on each."),
    precision: str = typer.Option("auto", help="auto, bf16, fp16 or fp32."),
    max_minutes: float | None = typer.Option(
        None, min=0.0, help="Stop cleanly after so long, songs' preparation included; run again to go on."
    ),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network; all cores by default."),
    print_config: bool = typer.Option(False, "--print-config", help="Print the effective recipe and exit."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check recipe and data, print what would be trained, exit."),
    json: bool = typer.Option(False, "--json", help="Events as JSON lines on stdout."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Say errors only."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say more."),
    no_color: bool = typer.Option(False, "--no-color", help="No colour."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> int:
    """Train a network from a recipe.

    The run's folder receives the recipe as it was used, curves, and weights with their card: `best.safetensors` and
    `last.safetensors`, which `--model` takes. A run that was stopped or killed goes on when the command is repeated.
    """
    console = context.obj
    if not isinstance(console, Console):
        raise TypeError("the command needs a console")
    console.output.quiet, console.output.verbose, console.output.colour = quiet, verbose, not no_color
    check_finite({"--max-minutes": max_minutes})
    _check_packages()
    from mss_cli.training.recipe_file import print_config as as_text
    from mss_cli.training.recipe_file import read_recipe

    loaded = read_recipe(recipe, changes)
    if print_config:
        from mss_cli.stdout import write_line

        write_line(as_text(loaded).rstrip("\n"))
        return 0
    from mss_cli.devices import prepare_process

    prepare_process(threads)
    from mss_cli.training.run import Request, plan, train

    request = Request(loaded, output, resume, device, devices, nodes, precision, max_minutes)
    if dry_run:
        from mss_cli.stdout import write_line

        for line in plan(request, console):
            write_line(line)
        return 0
    train(request, console)
    return 0


def _check_packages() -> None:
    """Refuse to begin without what the extra `train` brings.

    Raises
    ------
    UsageError
        Naming the missing package.
    """
    from importlib.util import find_spec

    for name in _PACKAGES:
        if find_spec(name) is None:
            raise UsageError(f"training needs the package `{name}`", hint="install `mss-cli[train]`")
