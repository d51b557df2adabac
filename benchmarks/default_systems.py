"""What the default model is compared with: floors, masks without training, the classical separator, an oracle."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from default_songs import RATE, Audio, Song
from mss_cli.datasets.player.pack import STEMS
from mss_cli.evaluation.oracles import oracle_estimates
from mss_cli.separation.api import Model
from mss_models.classical.hpss import hpss_masks
from mss_models.classical.panning import mid_side, stereo_position
from mss_models.classical.repetition import repeating_background, similar_frames
from mss_models.stft import StftSettings, istft, stft

Estimates = dict[str, Audio]
SILENCE, MIXTURE, GAIN, QUARTER = "silence", "mixture", "mixture x best gain", "mixture / 4"
_STFT = StftSettings(n_fft=4096, hop_length=1024)
_LOW_PASS_HZ = 150.0
_FEATURE_BINS, _FEATURE_POWER = 512, 0.3
_BLOCK = 1 << 16


def silence(song: Song) -> Estimates:
    return {stem: np.zeros_like(song.mixture) for stem in STEMS}


def mixture(song: Song) -> Estimates:
    return dict.fromkeys(STEMS, song.mixture)


def quarter(song: Song) -> Estimates:
    return dict.fromkeys(STEMS, song.mixture / 4)


def best_gain(song: Song) -> Estimates:
    """Give the mixture times the constant that is best for each stem: the least that anything useful must beat."""
    wide = song.mixture.astype(np.float64)
    energy = np.square(wide).sum()
    gains = {stem: (wide * reference).sum() / energy for stem, reference in song.references.items()}
    return {stem: np.float32(gain) * song.mixture for stem, gain in gains.items()}


def hpss(song: Song) -> Estimates:
    """Percussive cells to the drums; of the others the low ones to the bass, those in the centre to the vocals."""
    spectrum = stft(torch.from_numpy(song.mixture)[None], _STFT)  # (1, channel, bin, frame)
    harmonic, percussive = hpss_masks(spectrum.abs()).unbind(dim=1)
    low = (torch.arange(_STFT.bins) * RATE / _STFT.n_fft < _LOW_PASS_HZ)[:, None].to(harmonic.dtype)
    position = stereo_position(stft(mid_side(torch.from_numpy(song.mixture)), _STFT))
    centre = (1 - 2 * position.side_share).clamp(0, 1)
    masks = {
        "vocals": harmonic * (1 - low) * centre,
        "drums": percussive,
        "bass": harmonic * low,
        "other": harmonic * (1 - low) * (1 - centre),
    }
    return {stem: _filtered(mask, spectrum, song) for stem, mask in masks.items()}


def repet_sim(song: Song) -> Estimates:
    """Vocals as what does not repeat; the method knows no other stem."""
    spectrum = stft(torch.from_numpy(song.mixture)[None], _STFT)
    magnitudes = spectrum.abs()
    features = magnitudes[0].mean(dim=0)[:_FEATURE_BINS].pow(_FEATURE_POWER)
    similar = similar_frames(features, count=11, context=2, apart=4, nearest=20)
    background = torch.stack([repeating_background(channel, similar) for channel in magnitudes[0]])
    share = background / magnitudes.clamp_min(1e-12)
    return {"vocals": _filtered(1 - share, spectrum, song)}


def irm2(song: Song) -> Estimates:
    """Ratio masks of the true powers: about the best that masks do."""

    def source() -> Iterator[Audio]:
        whole = np.stack([song.mixture, *song.references.values()])
        for start in range(0, whole.shape[-1], _BLOCK):
            yield whole[..., start : start + _BLOCK]

    blocks = list(oracle_estimates("irm2", source, channels=song.mixture.shape[0]))
    return dict(zip(song.references, np.concatenate(blocks, axis=-1), strict=True))


def model(loaded: Model) -> Callable[[Song], Estimates]:
    return lambda song: loaded.separate_array(song.mixture, RATE)


# Rows that no model changes.
FIXED: Mapping[str, Callable[[Song], Estimates]] = {
    MIXTURE: mixture,
    GAIN: best_gain,
    QUARTER: quarter,
    SILENCE: silence,
    "HPSS, centre, low-pass": hpss,
    "REPET-SIM": repet_sim,
    "oracle irm2": irm2,
}


def _filtered(mask: Tensor, spectrum: Tensor, song: Song) -> Audio:
    made: Audio = istft(mask * spectrum, _STFT, song.mixture.shape[-1])[0].numpy()
    return made
