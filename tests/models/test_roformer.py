"""RoFormers: bands, positions, masks, and the laws of every separator."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.configuration import ConfigurationError
from mss_models.errors import ShapeError, StateMismatch
from mss_models.networks.roformer.attention import Attention, NumberAttention, RotaryPositions, UnitNorm
from mss_models.networks.roformer.bands import Bands, mel_bands, side_by_side
from mss_models.networks.roformer.masks import MaskHead
from mss_models.networks.roformer.network import Roformer
from mss_models.networks.roformer.separator import RoformerSeparator
from mss_models.networks.roformer.settings import PUBLISHED_WIDTHS, RoformerSettings
from mss_models.streaming import StreamSettings, stream
from separators import check_separator

TINY = {"sample_rate": 8000, "n_fft": 128, "window_length": 128, "hop_length": 40, "segment_samples": 4000}
SIZES = {"width": 12, "depth": 2, "heads": 2, "head_width": 4}
WIDTHS = (2,) * 8 + (5, 12, 32)
SPLIT = RoformerSettings(("vocals", "drums"), **TINY, **SIZES, band_widths=WIDTHS)
MONO = RoformerSettings(("vocals",), **TINY, **SIZES, channels=1, band_widths=WIDTHS, skips=True, whole_layers=1)
MEL = RoformerSettings(("vocals",), "mel-band", **TINY, **SIZES, mel_bands=9, mask_layers=2, mask_growth=2)
ALL = pytest.mark.parametrize("sizes", [SPLIT, MONO, MEL], ids=["bands side by side", "mono with skips", "mel bands"])
# Widths of the 60 mel bands at 44.1 kHz as the published weights have them: a mel filter bank of 2048 points.
KIM = {"mel_bands": 60, "kind": "mel-band", "width": 384, "depth": 6, "mask_layers": 2}


def separator(sizes, seed=0):
    torch.manual_seed(seed)
    made = RoformerSeparator(sizes)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        if name.endswith(("gamma", "temperature")):
            parameter.data.abs_()
    made.prepare(torch.device("cpu"), "fp32")
    return made


@pytest.mark.parametrize("bands", [side_by_side(PUBLISHED_WIDTHS, 1025), side_by_side((3, 1, 5), 9)])
def test_bands_side_by_side_hold_every_bin_once(bands):
    assert bands.counts == (1,) * bands.bins
    assert not bands.overlap
    assert [index for first, end in bands.ranges for index in range(first, end)] == list(range(bands.bins))


@given(count=st.integers(2, 40), rate=st.sampled_from([8000, 44_100]), n_fft=st.sampled_from([1024, 2048]))
@settings(max_examples=30, deadline=None)
def test_mel_bands_hold_every_bin_once_or_twice_and_grow_with_the_pitch(count, rate, n_fft):
    bands = mel_bands(count, rate, n_fft)
    assert set(bands.counts) <= {1, 2}
    firsts, ends = zip(*bands.ranges, strict=True)
    assert list(firsts) == sorted(firsts)
    assert list(ends) == sorted(ends)
    assert bands.widths[-2] >= bands.widths[0] - 1


def test_the_published_mel_bands_overlap_and_reach_from_the_lowest_bin_to_the_highest():
    bands = mel_bands(60, 44_100, 2048)
    assert bands.ranges[0][0] == 0
    assert bands.ranges[-1][1] == 1025
    assert bands.overlap
    assert sum(bands.widths) == sum(bands.counts)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Bands(4, ((0, 2), (3, 4))), "bin 2 of 4 is in none"),
        (lambda: Bands(4, ((0, 5),)), "band 0 is empty or not within 4 bins"),
        (lambda: Bands(4, ((0, 4), (2, 2))), "band 1 is empty"),
        (lambda: side_by_side((2, 3), 6), "add up to 5 instead of 6"),
        (lambda: mel_bands(0, 8000, 128), "at least 1 mel band"),
        (lambda: mel_bands(60, 44_100, 256), "is empty"),
    ],
)
def test_bands_that_do_not_cover_a_spectrogram_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_norm_brings_faint_rows_to_the_same_level_and_leaves_zeros():
    norm = UnitNorm(3)
    rows = torch.tensor([[3.0, 0.0, 4.0], [3e-9, 0.0, 4e-9], [0.0, 0.0, 0.0]])
    level = math.sqrt(3) / 5
    expected = torch.tensor([[3 * level, 0, 4 * level], [3 * level, 0, 4 * level], [0, 0, 0]])
    assert_close(norm(rows), expected)


def test_positions_turn_neighbouring_numbers_by_angles_that_grow_with_the_place():
    positions = RotaryPositions(4)
    turned = positions(torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(1, 3, 4))[0]
    for place in range(3):
        slow = place * 10_000**-0.5
        expected = [math.cos(place), math.sin(place), -2 * math.sin(slow), 2 * math.cos(slow)]
        assert_close(turned[place], torch.tensor(expected))


def test_products_of_turned_numbers_depend_on_distance_alone():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 8, generator=generator)
    positions = RotaryPositions(8)
    queries, keys = (positions(one.expand(1, 30, 8))[0] for one in (query, key))
    products = queries @ keys.T  # (place, place)
    for distance in (-7, 0, 12):
        line = products.diagonal(distance)
        assert_close(line, line[:1].expand_as(line), rtol=0, atol=1e-5)


def test_attention_to_a_single_place_gives_its_value_through_the_gates():
    torch.manual_seed(1)
    attention = Attention(6, 2, 4, 0.0).eval()
    row = torch.randn(1, 1, 6)
    normed = attention.norm(row)
    value = attention.to_qkv(normed)[..., 16:]
    gates = attention.to_gates(normed).sigmoid().repeat_interleave(4, dim=-1)
    assert_close(attention(row), attention.to_out[0](value * gates))


def test_attention_between_numbers_does_not_mind_the_order_of_places():
    torch.manual_seed(1)
    attention = NumberAttention(6, 2, 4, 0.0).eval()
    rows, order = torch.randn(2, 9, 6), torch.randperm(9)
    assert_close(attention(rows[:, order]), attention(rows)[:, order])


def test_the_mask_of_a_bin_is_the_mean_of_its_bands():
    head = MaskHead(MEL)
    for index, net in enumerate(head.to_freqs):
        last = net[0][-1]
        last.weight.data.zero_()
        half = last.out_features // 2
        last.bias.data[:half] = index  # the gated half of a GLU
        last.bias.data[half:] = 100.0  # wide open
    mask = head(torch.zeros(1, 1, 9, 12))[0, 0]  # (bin, channel, part)
    for index in range(65):
        inside = [band for band, (first, end) in enumerate(MEL.bands.ranges) if first <= index < end]
        assert_close(mask[index], torch.full((2, 2), sum(inside) / len(inside)))


@ALL
def test_it_obeys_the_laws_of_separators(sizes):
    check_separator(separator(sizes), samples=2500)


@ALL
def test_it_computes_in_bf16_with_exact_angles(sizes):
    made = separator(sizes)
    mixture = 0.1 * torch.randn(1, sizes.channels, 3000)
    exact = made.separate(mixture)
    made.prepare(torch.device("cpu"), "bf16")
    assert all(one.freqs.dtype == torch.float32 for one in made.prepared_network.positions)
    assert float((made.separate(mixture) - exact).abs().max()) < 0.05 * float(exact.abs().max())


@ALL
def test_training_and_inference_agree(sizes):
    made = separator(sizes).eval()
    mixture = torch.randn(2, sizes.channels, 3000)
    with torch.no_grad():
        exact = made(mixture)
    learned = made(mixture)
    assert learned.requires_grad
    assert_close(learned.detach(), exact, rtol=0, atol=1e-5)
    assert_close(made.separate(mixture), exact, rtol=0, atol=1e-6)


@ALL
def test_every_weight_learns(sizes):
    made = separator(sizes)
    made(torch.randn(2, sizes.channels, 1000)).square().sum().backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in made.parameters())
    assert all(bool(one.grad.any()) for name, one in made.named_parameters() if "to_qkv" in name)


def test_rows_in_pieces_give_what_they_give_at_once(monkeypatch):
    made, mixture = separator(SPLIT), torch.randn(2, 2, 3000)
    whole = made.separate(mixture)
    monkeypatch.setattr("mss_models.networks.roformer.transformer._PLACES_AT_ONCE", 50)
    assert_close(made.separate(mixture), whole, rtol=0, atol=1e-6)


def test_nothing_is_left_at_0_hz_where_the_settings_say_so():
    spectrum = torch.randn(1, 5, 65, 2, dtype=torch.complex64)
    for silent in (True, False):
        sizes = RoformerSettings(("vocals",), **TINY, **SIZES, band_widths=WIDTHS, silent_zero=silent)
        with torch.no_grad():
            estimate = separator(sizes).network(spectrum)
        assert bool(estimate[:, :, :, 0].any()) == (not silent)
        assert bool(estimate[:, :, :, 1:].all())


def test_a_mask_of_ones_gives_the_mixture_back():
    sizes = RoformerSettings(("vocals",), **TINY, **SIZES, mel_bands=9, kind="mel-band", silent_zero=False)
    made = separator(sizes)
    for net in made.network.mask_estimators[0].to_freqs:
        last = net[0][-1]
        last.weight.data.zero_()
        half = last.out_features // 2
        last.bias.data[:half:2], last.bias.data[1:half:2], last.bias.data[half:] = 1.0, 0.0, 100.0
    made.prepare(torch.device("cpu"), "fp32")
    for samples in (1, 63, 128, 999, 4000):
        mixture = torch.randn(1, 2, samples)
        assert_close(made.separate(mixture)[:, 0], mixture, rtol=0, atol=1e-5)
        blocks = list(stream(made, [mixture[0]], StreamSettings(1000, overlap=0.5), device=torch.device("cpu")))
        assert_close(torch.cat(blocks, dim=-1)[0], mixture[0], rtol=0, atol=1e-5)


def test_a_track_as_long_as_a_segment_is_separated_at_once():
    made = separator(SPLIT)
    mixture = torch.randn(1, 2, 4000)
    blocks = mixture[0].split(700, dim=-1)
    streamed = list(stream(made, blocks, StreamSettings(4000, overlap=0.0), device=torch.device("cpu")))
    assert_close(torch.cat(streamed, dim=-1), made.separate(mixture)[0], rtol=0, atol=1e-5)


def test_keys_and_shapes_are_those_of_the_published_files():
    with torch.device("meta"):
        split = Roformer(RoformerSettings(("vocals",), band_widths=PUBLISHED_WIDTHS, width=512, depth=12)).state_dict()
        mel = Roformer(RoformerSettings(("vocals",), **KIM)).state_dict()
    shapes = {
        "band_split.to_features.0.0.gamma": (8,),
        "band_split.to_features.61.1.weight": (512, 516),
        "layers.11.1.layers.0.0.rotary_embed.freqs": (32,),
        "layers.0.0.layers.0.0.to_qkv.weight": (1536, 512),
        "layers.0.0.layers.0.0.to_gates.bias": (8,),
        "layers.0.0.layers.0.0.to_out.0.weight": (512, 512),
        "layers.0.0.layers.0.1.net.4.weight": (512, 2048),
        "final_norm.gamma": (512,),
        "mask_estimators.0.to_freqs.61.0.2.weight": (1032, 2048),
    }
    assert {key: tuple(split[key].shape) for key in shapes} == shapes
    assert "layers.0.0.norm.gamma" not in split
    assert "final_norm.gamma" not in mel
    assert mel["layers.5.1.norm.gamma"].shape == (384,)
    before = "mask_estimators.0.to_freqs.7.0."
    expected = {f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")}
    assert {key.removeprefix(before) for key in mel if key.startswith(before)} == expected


def test_the_published_sizes_fill_the_published_files():
    """The file of unblend 1.0.0 has 912 885 624 bytes: these numbers of four bytes, and its header of keys."""
    with torch.device("meta"):
        state = Roformer(RoformerSettings(("vocals",), **KIM)).state_dict()
    header = 912_885_624 - 4 * sum(value.numel() for value in state.values())
    names = sum(len(key) for key in state)
    assert names < header < names + 120 * len(state)


@ALL
def test_settings_come_back_from_the_catalogue(sizes):
    made = configuration_of(RoformerSeparator(sizes))
    assert made.architecture == "roformer"
    again = build(made.architecture, made.settings)
    assert isinstance(again, RoformerSeparator)
    assert again.settings == sizes


def test_weights_of_other_sizes_are_refused():
    with pytest.raises(StateMismatch, match="missing"):
        RoformerSeparator(SPLIT).load_state_dict(RoformerSeparator(MEL).state_dict())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"band_widths": [2, 3]}, "add up to 5 instead of 65"),
        ({"mel_bands": 9}, "band_widths for kind"),
        ({"kind": "mel-band"}, "band_widths for kind"),
        ({"band_widths": []}, "band_widths for kind"),
        ({"kind": "bark-band"}, "kind"),
        ({"head_width": 5}, "must be even"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"window_length": 256}, "window_length"),
        ({"mask_layers": -1}, "at least 0"),
        ({"attention_dropout": 1.0}, "dropout"),
        ({"rotary": True}, "unknown key `rotary`"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, match):
    values = configuration_of(RoformerSeparator(SPLIT)).settings
    with pytest.raises(ConfigurationError, match=match):
        build("roformer", {**values, **changes})


def test_spectrograms_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="65 bins, 2 channels"):
        Roformer(SPLIT)(torch.zeros(1, 3, 64, 2, dtype=torch.complex64))
