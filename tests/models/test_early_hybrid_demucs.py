"""Hybrid Demucs as in the challenge of 2021: magnitudes, levels in bands, ends that are not mirrored."""

import json

import pytest
import torch
from torch.testing import assert_close

from mss_models.networks.demucs.bands import BandedDecoder, BandedEncoder
from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer, LayerShape
from mss_models.networks.demucs.configurations import hybrid_values, read_hybrid
from mss_models.networks.demucs.hybrid import filtered_spectra
from mss_models.networks.demucs.published import published_hybrid
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.networks.demucs.settings import HybridSettings
from mss_models.networks.demucs.spectrum import demucs_signal, demucs_spectrum, late_signal
from mss_models.stft import StftSettings
from separators import check_separator

STEMS = ("drums", "bass", "vocals")
SIZES = {"width": 8, "depth": 4, "n_fft": 1024, "segment_samples": 20_000}
MAGNITUDES = HybridSettings(STEMS, **SIZES, planes="magnitude", wiener_iterations=1)
BANDS = HybridSettings(STEMS, **SIZES, band_ends=(0.25, 0.5))
LATE = HybridSettings(STEMS, **SIZES, planes="magnitude", band_ends=(0.4,), banded_levels=1, mirrored_ends=False)
EARLY = {"magnitudes": MAGNITUDES, "bands": BANDS, "late": LATE}
every = pytest.mark.parametrize("configuration", EARLY.values(), ids=EARLY)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def separator(configuration):
    torch.manual_seed(0)
    return HybridDemucsSeparator(configuration).eval()


@every
def test_the_laws_of_separators_hold(configuration):
    check_separator(separator(configuration), samples=6000)


@every
def test_what_separates_is_what_is_trained_and_may_leave_out_stems(configuration):
    made, mixture = separator(configuration), noise(1, 2, 5000)
    with torch.no_grad():
        expected = made(mixture)
    made.restrict(("vocals", "drums"))
    made.prepare(torch.device("cpu"), "fp32")
    assert_close(made.separate(mixture), expected[:, [2, 0]], rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert made.precisions == ("fp32",)
    with pytest.raises(ValueError, match="bf16"):
        made.prepare(torch.device("cpu"), "bf16")


@every
def test_settings_come_back_from_json(configuration):
    assert read_hybrid(json.loads(json.dumps(hybrid_values(configuration)))) == configuration


@pytest.mark.parametrize("ends", [(0.5,), (0.3,), (0.2, 0.7)])
def test_bands_with_equal_layers_give_what_one_layer_gives(ends):
    torch.manual_seed(0)
    whole = LayerShape(3, 8, 8, 4, 2, True, 0, 1, context_in_time=True)
    bands = LayerShape(3, 8, 8, 4, 0, True, 0, 1, context_in_time=True)
    down, up = EncoderLayer(whole, None), DecoderLayer(whole, None, last=False)
    downs = [EncoderLayer(bands, None) for _ in range(len(ends) + 1)]
    ups = [DecoderLayer(bands, None, last=True) for _ in range(len(ends) + 1)]
    for one, copies in ((down, downs), (up, ups)):
        for copy in copies:
            copy.load_state_dict(one.state_dict())
    signal, skip = noise(2, 3, 64, 5), noise(2, 8, 16, 5, seed=1)
    with torch.no_grad():
        inner = down(signal)
        assert_close(BandedEncoder(downs, ends)(signal), inner, rtol=0, atol=1e-6)
        outer, _ = up(inner, skip, 5)
        assert_close(BandedDecoder(ups, ends, last=False)(inner, skip, 5)[0], outer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [2048, 2600])
def test_spectra_of_the_early_way_come_back_one_and_a_half_hops_late(samples):
    grid, signal = StftSettings(256, 64), noise(1, 2, samples)
    spectrum = demucs_spectrum(signal, grid)
    late, right = late_signal(spectrum, grid, samples), demucs_signal(spectrum, grid, samples)
    # In the first hop a frame is missing.
    assert_close(late[..., 96:], right[..., : samples - 96], rtol=0, atol=1e-5)


def test_without_a_filter_the_stems_have_the_mixture_s_phase_and_the_network_s_magnitudes():
    mixture = torch.complex(noise(1, 2, 6, 7), noise(1, 2, 6, 7, seed=1))
    sizes = noise(1, 3, 2, 6, 7, seed=2)
    expected = mixture[:, None] / mixture[:, None].abs() * sizes
    assert_close(filtered_spectra(mixture, sizes, -1), expected, rtol=0, atol=1e-5)
    assert_close(filtered_spectra(mixture, sizes, 0), expected, rtol=0, atol=1e-5)
    assert float(filtered_spectra(torch.zeros_like(mixture), sizes, -1).abs().max()) == 0


def test_options_of_a_published_file_are_read():
    options = {"cac": False, "wiener_iters": 2, "end_iters": 2, "multi_freqs": [0.3], "hybrid_old": True}
    made = published_hybrid("HDemucs", [list(STEMS)], {**options, "multi_freqs_depth": 1})
    assert (made.planes, made.wiener_iterations) == ("magnitude", 2)
    assert (made.band_ends, made.banded_levels, made.mirrored_ends) == ((0.3,), 1, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"band_ends": [0.5, 0.2]}, "band_ends must rise"),
        ({"band_ends": [1.5]}, "band_ends must rise"),
        ({"band_ends": 0.5}, "band_ends: expected numbers"),
        ({"band_ends": [0.5], "banded_levels": 6}, "have no norms"),
        ({"band_ends": [0.5], "kernel_size": 4}, "kernels of twice the stride"),
        ({"band_ends": [0.5], "banded_levels": 4, "depth": 6, "n_fft": 1024}, "before the branches merge"),
        ({"wiener_iterations": -2}, "out of range"),
        ({"planes": "phases"}, "planes"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_hybrid({"stems": list(STEMS), **values})
