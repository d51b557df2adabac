"""What lossy coding leaves of stems, by a round trip through a real coder in memory."""

import io

import numpy as np
import soundfile

from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio

_BLOCK = 1 << 15  # samples; libsndfile's Vorbis coder takes long blocks onto its stack


def coded(track: Audio, *, quality: float) -> Audio:
    """Code a track with Ogg Vorbis and decode it again.

    The result lies sample on sample with the track: Vorbis has no delay after decoding.

    Parameters
    ----------
    track : float32 array of shape (2, sample)
        Of any level: it is brought to a peak of 0.9 for the coder and back.
    quality : float, 0 to 1
        0 is about 65 kb/s, 0.4 about 115 kb/s in stereo.

    Returns
    -------
    float32 array of shape (2, sample)

    Raises
    ------
    ValueError
        If `quality` is out of its range.
    """
    if not 0 <= quality <= 1:
        raise ValueError(f"quality must be between 0 and 1, got {quality}")
    peak = float(np.abs(track).max(initial=0.0))
    if peak < 1e-5:
        return track
    scaled = np.ascontiguousarray(track.T * np.float32(0.9 / peak))  # (sample, side)
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream,
        "w",
        SAMPLE_RATE,
        track.shape[0],
        format="OGG",
        subtype="VORBIS",
        compression_level=1 - quality,
    ) as file:
        for start in range(0, scaled.shape[0], _BLOCK):
            file.write(scaled[start : start + _BLOCK])
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32", always_2d=True)
    out = np.zeros_like(track)
    samples = min(decoded.shape[0], track.shape[1])
    out[:, :samples] = decoded[:samples].T * np.float32(peak / 0.9)
    return out
