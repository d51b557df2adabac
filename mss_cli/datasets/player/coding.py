"""What lossy coding leaves of stems, by a round trip through real coders in memory."""

import io
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio

Coder = Literal["vorbis", "aac"]
CODERS: tuple[Coder, ...] = ("vorbis", "aac")

_BLOCK = 1 << 15  # samples; libsndfile's Vorbis coder takes long blocks onto its stack
_AAC_DELAY = 1024  # samples: one frame, by the overlap of the transform
_VORBIS_LOWEST, _VORBIS_HIGHEST = 60_000, 200_000  # about what qualities 0 and 0.7 give in stereo


def coded(track: Audio, *, coder: Coder, bits_per_second: int) -> Audio:
    """Code a stereo track and decode it again, in its place to the sample.

    Parameters
    ----------
    track : float32 array of shape (2, sample)
        Of any level: it is brought to a peak of 0.9 for the coder and back.
    coder : {"vorbis", "aac"}
        Ogg Vorbis of libsndfile, which has no delay, or AAC-LC of FFmpeg, whose delay is cut off.
    bits_per_second : int, 32000 to 256000
        Roughly; Vorbis varies with what is coded.

    Returns
    -------
    float32 array of shape (2, sample)
        Silence stays silence.

    Raises
    ------
    ValueError
        If `bits_per_second` is out of its range.
    """
    if not 32_000 <= bits_per_second <= 256_000:
        raise ValueError(f"bits_per_second must be between 32000 and 256000, got {bits_per_second}")
    peak = float(np.abs(track).max(initial=0.0))
    if peak < 1e-5:
        return track
    scaled = track * np.float32(0.9 / peak)
    decoded = _by_aac(scaled, bits_per_second) if coder == "aac" else _by_vorbis(scaled, bits_per_second)
    out = np.zeros_like(track)
    samples = min(decoded.shape[1], track.shape[1])
    out[:, :samples] = decoded[:, :samples] * np.float32(peak / 0.9)
    # What a decoder makes of no numbers would poison a whole training.
    return np.nan_to_num(out, copy=False, posinf=0.0, neginf=0.0)


def _by_vorbis(track: Audio, bits_per_second: int) -> NDArray[np.float32]:
    share = (bits_per_second - _VORBIS_LOWEST) / (_VORBIS_HIGHEST - _VORBIS_LOWEST)
    quality = 0.7 * min(max(share, 0.0), 1.0)
    frames = np.ascontiguousarray(track.T)  # (sample, side)
    stream = io.BytesIO()
    form = {"format": "OGG", "subtype": "VORBIS"}
    with soundfile.SoundFile(stream, "w", SAMPLE_RATE, 2, compression_level=1 - quality, **form) as file:
        for start in range(0, frames.shape[0], _BLOCK):
            file.write(frames[start : start + _BLOCK])
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32", always_2d=True)
    return np.asarray(decoded.T, dtype=np.float32)  # (side, sample)


def _by_aac(track: Audio, bits_per_second: int) -> NDArray[np.float32]:
    encoder = av.AudioCodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "stereo", "fltp"
    encoder.bit_rate, encoder.time_base = bits_per_second, Fraction(1, SAMPLE_RATE)
    encoder.open()
    size = encoder.frame_size
    # The last two frames push out what the overlap holds back.
    padded = np.pad(track, ((0, 0), (0, 2 * size - track.shape[1] % size)))
    packets = []
    for start in range(0, padded.shape[1], size):
        block = np.ascontiguousarray(padded[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.AudioCodecContext.create("aac", "r")
    decoder.extradata = encoder.extradata
    pieces = [frame.to_ndarray() for packet in packets for frame in decoder.decode(packet)]
    return np.concatenate(pieces, axis=1, dtype=np.float32)[:, _AAC_DELAY:]  # (side, sample)
