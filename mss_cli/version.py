"""The version, from the installed package's metadata alone."""


def version() -> str:
    """Give the version of the installed distribution, or "0" in a tree that is not installed."""
    from importlib.metadata import PackageNotFoundError  # takes a tenth of the time to show help
    from importlib.metadata import version as installed

    try:
        return installed("mss-cli")
    except PackageNotFoundError:
        return "0"
