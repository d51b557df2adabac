"""Packages that only some data sets need."""

import importlib
from types import ModuleType

from mss_cli.errors import UsageError


def require(module: str) -> ModuleType:
    """Import an optional package.

    Raises
    ------
    UsageError
        If it, or something it imports, is not installed; the line has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = error.name or module
        raise UsageError(
            f"the package `{name}` is not installed", hint="run `pip install 'mss-cli[evaluate]'`"
        ) from error
