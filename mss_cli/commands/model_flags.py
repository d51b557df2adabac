"""Flags that mean the same wherever `--model` stands: how its weights may be had."""

import typer

ARCHITECTURE = typer.Option(
    None, "--architecture", help="Family of a checkpoint of others, where its contents do not tell it."
)
DOWNLOAD = typer.Option(True, "--download/--no-download", help="Fetch a published model that is not there yet.")
ACCEPT_LICENCE = typer.Option(
    False, "--accept-licence", "--accept-license", help="Accept the licence of the model's weights; remembered."
)
