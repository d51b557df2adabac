"""Mask networks learn a song by heart, as well as their kind of mask allows, and no other song."""

import pytest
import torch
from torch import Tensor

from mss_models.networks.front_end import FrontEnd
from mss_models.networks.mask_separator import MaskSeparator, MaskSettings
from mss_models.stft import StftSettings, istft, stft
from overfitting import capped_magnitude_bound, overfit, real_mask_bound, sdr_db
from sung_song import SungSong, sung_song

THESIS = FrontEnd(8192, 1, StftSettings(1024, 768), 512, "peak", "window-sum")
COMPLEX = FrontEnd(22_050, 1, StftSettings(1024, 256), 512)


def separated(network: MaskSeparator, song: SungSong) -> Tensor:
    network.prepare(torch.device("cpu"), "fp32")
    return network.separate(song.mixture)[:, 0]


def thesis_unet(song: SungSong, *, steps: int) -> Tensor:
    """The network of chapter 4 in its own size, with its L1 loss (4.2) and without dropout."""
    torch.manual_seed(0)
    network = MaskSeparator(MaskSettings(("vocals",), THESIS, "sigmoid", 128, dropout_layers=0))
    spectrum, target = stft(song.mixture, THESIS.stft), stft(song.vocals, THESIS.stft).abs()

    def loss() -> Tensor:
        return THESIS.gain * (network.masks(spectrum)[:, 0] * spectrum.abs() - target).abs().mean()

    overfit(network, loss, steps=steps, learning_rate=2e-3)
    return separated(network, song)


def complex_unet(song: SungSong, *, steps: int) -> Tensor:
    """Chapter 6's complex network, half as wide and a level less, "cartesian".

    The loss is the energy of the error in dB: (6.11) leaves the estimate's level free, and (6.12) holds it by a
    magnitude term whose weight against the other the thesis leaves open.
    """
    torch.manual_seed(0)
    network = MaskSeparator(
        MaskSettings(
            ("vocals",), COMPLEX, "cartesian", 512, levels=5, base_channels=8, normalize_first=False, dropout_layers=0
        )
    )
    vocals, spectrum = song.vocals, stft(song.mixture, COMPLEX.stft)

    def loss() -> Tensor:
        estimate = istft(network.masks(spectrum)[:, 0] * spectrum, COMPLEX.stft, vocals.shape[-1])
        return torch.log10((estimate - vocals).square().sum() / vocals.square().sum() + 1e-4)

    overfit(network, loss, steps=steps, learning_rate=5e-3)
    return separated(network, song)


@pytest.mark.parametrize(
    ("steps", "below_bound_db"),
    [pytest.param(100, 4.0, id="quick"), pytest.param(700, 1.0, id="whole", marks=pytest.mark.slow)],
)
def test_the_thesis_unet_comes_near_the_bound_of_its_masks(steps, below_bound_db):
    song, other = sung_song(rate=8192), sung_song(rate=8192, seed=1)
    estimate = thesis_unet(song, steps=steps)
    mark = capped_magnitude_bound(song.mixture, song.vocals, THESIS.stft) - below_bound_db
    assert sdr_db(song.vocals, estimate) > mark
    assert sdr_db(other.vocals, estimate) < 0 < mark


@pytest.mark.parametrize(
    ("steps", "above_bound_db"),
    [pytest.param(90, 0.0, id="quick"), pytest.param(300, 2.0, id="whole", marks=pytest.mark.slow)],
)
def test_the_complex_unet_passes_what_no_real_mask_can_reach(steps, above_bound_db):
    song, other = sung_song(seed=1), sung_song(seed=0)
    estimate = complex_unet(song, steps=steps)
    mark = real_mask_bound(song.mixture, song.vocals, COMPLEX.stft) + above_bound_db
    assert sdr_db(song.vocals, estimate) > mark
    assert sdr_db(other.vocals, estimate) < 0 < mark


def test_no_mask_passes_the_bound_and_true_ones_come_near():
    song = sung_song(seconds=1.0, seed=1)
    spectrum, vocals = stft(song.mixture, COMPLEX.stft), song.vocals
    bound = real_mask_bound(song.mixture, vocals, COMPLEX.stft, steps=50)
    ideal = (stft(vocals, COMPLEX.stft) / (spectrum + 1e-9)).real.clamp(0, 1)
    near = sdr_db(vocals, istft(ideal * spectrum, COMPLEX.stft, vocals.shape[-1]))
    assert bound - 2 < near < bound
    assert capped_magnitude_bound(song.mixture, vocals, COMPLEX.stft) < bound
