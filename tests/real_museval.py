"""The package museval itself, importable without an ffmpeg program."""

import pytest


def museval_or_skip():
    """Import museval through the stand-in for stempeg; skip the test where it is not installed."""
    from mss_cli.datasets.stempeg_stand_in import install

    install()
    return pytest.importorskip("museval")
