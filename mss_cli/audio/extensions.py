"""File name extensions of audio, for finding inputs in folders; the content decides when a file is opened."""

from typing import Final

AUDIO_EXTENSIONS: Final = frozenset(
    {
        # Read by libsndfile.
        ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav",
        # Read by libav.
        ".aac", ".ac3", ".ape", ".dts", ".eac3", ".m4a", ".m4b", ".mka", ".mp2", ".tak", ".tta", ".wma", ".wv",
    }
)  # fmt: skip
"""Lower-case extensions, with the dot, of files that hold sound only."""

VIDEO_EXTENSIONS: Final = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".wmv"})
"""Lower-case extensions, with the dot, of containers that hold sound beside pictures (and of stem files)."""
