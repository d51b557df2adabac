"""Mono, stereo, and the fold of more channels to stereo."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import InputError

Block = NDArray[np.float32]

_HALF: Final = float(np.sqrt(0.5))  # -3 dB, ITU-R BS.775-4 table 2

# Gains to (left, right) per channel, by count, in the order WAV, FLAC and libav share: L R C LFE Ls Rs (Lb Rb).
# The LFE channel is left out, as BS.775 does. The order assumed for each count stands beside it.
_DOWNMIX: Final[dict[int, tuple[tuple[float, float], ...]]] = {
    # L R C
    3: ((1.0, 0.0), (0.0, 1.0), (_HALF, _HALF)),
    # L R Ls Rs (quad)
    4: ((1.0, 0.0), (0.0, 1.0), (_HALF, 0.0), (0.0, _HALF)),
    # L R C Ls Rs
    5: ((1.0, 0.0), (0.0, 1.0), (_HALF, _HALF), (_HALF, 0.0), (0.0, _HALF)),
    # L R C LFE Ls Rs (5.1)
    6: ((1.0, 0.0), (0.0, 1.0), (_HALF, _HALF), (0.0, 0.0), (_HALF, 0.0), (0.0, _HALF)),
    # L R C LFE Cb Ls Rs (6.1): the back centre goes to both sides, 3 dB down once more
    7: ((1.0, 0.0), (0.0, 1.0), (_HALF, _HALF), (0.0, 0.0), (0.5, 0.5), (_HALF, 0.0), (0.0, _HALF)),
    # L R C LFE Lb Rb Ls Rs (7.1)
    8: ((1.0, 0.0), (0.0, 1.0), (_HALF, _HALF), (0.0, 0.0), *((_HALF, 0.0), (0.0, _HALF)) * 2),
}


def check_channels(channels: int, *, path: str, downmix: bool) -> int:
    """Give the channels a track is separated in, or refuse it.

    Parameters
    ----------
    channels : int
        Channels of the file.
    path : str
        The file, for the message.
    downmix : bool
        Whether `--downmix stereo` was asked for.

    Returns
    -------
    int
        1 or 2.

    Raises
    ------
    InputError
        If there are no channels, or more than two and no way to fold them.
    """
    if channels < 1:
        raise InputError("holds no channels", path=path, hint="check the file or leave it out")
    if channels <= 2:
        return channels
    if not downmix:
        raise InputError(f"{channels} channels", path=path, hint="fold them with `--downmix stereo`")
    if channels not in _DOWNMIX:
        raise InputError(
            f"{channels} channels, and no rule to fold them", path=path, hint="mix it to stereo in an editor"
        )
    return 2


def fold(block: Block, channels: int) -> Block:
    """Map a block to mono or stereo.

    Stereo to mono is the mean; mono to stereo is a copy in both; more than two channels are folded to stereo with the
    coefficients of ITU-R BS.775-4 (centre and surrounds at -3 dB, no LFE), without normalisation: the sum can
    pass ±1. The order assumed is that of WAV, FLAC and libav: L R C LFE Ls Rs (Lb Rb before Ls Rs in 7.1).

    Parameters
    ----------
    block : float32 array of shape (channel, sample)
        1 to 8 channels.
    channels : {1, 2}
        Channels wanted.

    Returns
    -------
    float32 array of shape (channels, sample)
        ``block`` itself if it has that many already.

    Raises
    ------
    ValueError
        If there is no rule for the count of channels.
    """
    have = block.shape[0]
    if have == channels:
        return block
    if have == 1 and channels == 2:
        return np.repeat(block, 2, axis=0)  # (2, sample)
    if have == 2 and channels == 1:
        return (block[:1] + block[1:]) * np.float32(0.5)  # (1, sample)
    if have not in _DOWNMIX or channels not in (1, 2):
        raise ValueError(f"no rule to fold {have} channels to {channels}")
    gains = np.array(_DOWNMIX[have], np.float32).T  # (2, have)
    stereo: Block = gains @ block  # (2, sample)
    return fold(stereo, channels)
