"""The version, from the installed package's metadata alone."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """Give the version of the installed distribution, or "0" in a tree that is not installed."""
    try:
        return installed("mss-cli")
    except PackageNotFoundError:
        return "0"
