"""RoFormers against `unblend` 1.0.0 and the first layout of `BS-RoFormer` (0.4.1), with the same random weights.

They are not dependencies. Put them beside the environment and on the path:

    uv pip install --no-deps --target peers unblend==1.0.0 BS-RoFormer==0.4.1 rotary-embedding-torch==0.9.1 \
        einops beartype librosa
    PYTHONPATH=peers pytest tests/parity/test_roformer_parity.py
"""

import importlib
import importlib.util
import re
import sys
import types

import pytest
import torch

from mss_models.networks.roformer.bands import mel_bands
from mss_models.networks.roformer.separator import RoformerSeparator
from mss_models.networks.roformer.settings import PUBLISHED_WIDTHS, RoformerSettings
from parity_rows import ParityRow

NAMES = ("drums", "bass", "other", "vocals")
NARROW = (1,) * 6 + (3,) * 9 + (8,) * 4 + (32, 32)
SHORT = {"stft_n_fft": 256, "stft_win_length": 256, "stft_hop_length": 64}
SMALL = {"dim": 24, "depth": 2, "heads": 3, "dim_head": 8, "time_transformer_depth": 1, "freq_transformer_depth": 1}
SPLIT = {**SMALL, **SHORT, "freqs_per_bands": NARROW}
MEL = {**SMALL, **SHORT, "num_bands": 12, "sample_rate": 16_000}
TEN_MS = {"stft_hop_length": 441}

# Options of the other implementations: the bands tell the class.
CASES = {
    "stereo": {**SPLIT, "stereo": True},
    "mono": SPLIT,
    "four stems": {**SPLIT, "stereo": True, "num_stems": 4},
    "four stems, skips": {**SPLIT, "depth": 4, "num_stems": 4, "skip_connection": True},
    "two layers along each axis": {**SPLIT, "time_transformer_depth": 2, "freq_transformer_depth": 2},
    "masks of one layer": {**SPLIT, "mask_estimator_depth": 1, "zero_dc": False},
    "masks of three layers, narrow": {**SPLIT, "mask_estimator_depth": 3, "mlp_expansion_factor": 2},
    "window shorter than the frame": {**SPLIT, "stft_win_length": 200, "stft_normalized": True},
    "published bands, hop 441": {**SMALL, **TEN_MS, "depth": 1, "stereo": True, "freqs_per_bands": PUBLISHED_WIDTHS},
    "mel": {**MEL, "stereo": True, "mask_estimator_depth": 2},
    "mel, mono, four stems": {**MEL, "num_stems": 4, "mask_estimator_depth": 1},
    "mel, skips, 0 Hz kept": {**MEL, "depth": 4, "skip_connection": True, "zero_dc": False},
    "mel, published bands, hop 441": {**SMALL, **TEN_MS, "depth": 1, "stereo": True, "num_bands": 60},
}
# What the older package knows: the same, but nothing is done at 0 Hz, and its mel networks may hear all at once.
OLDER = {
    "stereo": {**SPLIT, "stereo": True},
    "mono, four stems": {**SPLIT, "num_stems": 4, "mask_estimator_depth": 3},
    "two layers along each axis": {**SPLIT, "time_transformer_depth": 2, "freq_transformer_depth": 2},
    "mel": {**MEL, "stereo": True, "mask_estimator_depth": 2, "linear_transformer_depth": 0},
    "mel, all at once": {**MEL, "num_stems": 4, "mask_estimator_depth": 1, "linear_transformer_depth": 1},
    "mel, all at once, two layers": {**MEL, "stereo": True, "depth": 3, "linear_transformer_depth": 2},
}
PUBLISHED = {
    "BS-RoFormer of 384 numbers": {"dim": 384, "depth": 1, "freqs_per_bands": PUBLISHED_WIDTHS},
    "Mel-Band RoFormer of 384 numbers": {"dim": 384, "depth": 1, "num_bands": 60, "mask_estimator_depth": 2},
}


def peer(module):
    """Import a module of a peer, or skip by its name."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} cannot be imported: {error}")


def unblend():
    """The networks of a package that imports audio and network libraries which we do not have."""
    if "unblend" not in sys.modules:
        found = importlib.util.find_spec("unblend")
        if found is None:
            pytest.skip("unblend is not installed")
        stand_in = types.ModuleType("unblend")
        stand_in.__path__ = list(found.submodule_search_locations)
        stand_in.__spec__ = found
        sys.modules["unblend"] = stand_in
    return peer("unblend.roformer")


def ours(options):
    mel = "num_bands" in options
    depth = options.get("mask_estimator_depth", 1 if mel else 2)
    return RoformerSeparator(
        RoformerSettings(
            stems=NAMES[: options.get("num_stems", 1)],
            kind="mel-band" if mel else "band-split",
            sample_rate=options.get("sample_rate", 44_100),
            channels=2 if options.get("stereo") else 1,
            n_fft=options.get("stft_n_fft", 2048),
            hop_length=options.get("stft_hop_length", 512),
            window_length=options.get("stft_win_length", 2048),
            scaled_transform=options.get("stft_normalized", False),
            band_widths=options.get("freqs_per_bands", ()),
            mel_bands=options.get("num_bands", 0),
            width=options["dim"],
            depth=options["depth"],
            time_layers=options["time_transformer_depth"],
            band_layers=options["freq_transformer_depth"],
            whole_layers=options.get("linear_transformer_depth", 0),
            heads=options["heads"],
            head_width=options["dim_head"],
            mask_layers=depth if mel else depth - 1,
            mask_growth=options.get("mlp_expansion_factor", 4),
            skips=options.get("skip_connection", False),
            silent_zero=options.get("zero_dc", True),
        )
    )


def randomised(network):
    """Norms, gates and temperatures away from where they begin, so that each does something."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if (parameter.ndim == 1 and not name.endswith("freqs")) or name.endswith("temperature"):
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.data = 1 + noise if name.endswith("gamma") else 0.3 * noise
    return network.eval()


def mixtures(channels, samples):
    """Noise, and a faint tone with next to nothing in the upper bands: (2, channel, sample)."""
    generator = torch.Generator().manual_seed(6)
    noise = 0.1 * torch.randn(1, channels, samples, generator=generator)
    tone = 1e-3 * torch.sin(torch.arange(samples) * 0.05).expand(1, channels, samples)
    return torch.cat([noise, tone])


def check_same(theirs, options, samples, row, record_property):
    """Run both; the largest difference over the largest output, of each mixture by itself."""
    made = ours(options)
    state = {
        re.sub(r"^(layers\.\d+\.)([12])\.", lower(theirs), key): value for key, value in theirs.state_dict().items()
    }
    made.load_state_dict({f"network.{key}": value for key, value in state.items()})
    made.prepare(torch.device("cpu"), "fp32")
    mixture = mixtures(made.channels, samples)
    with torch.no_grad():
        answer = theirs(mixture)
    answer = answer.reshape(2, len(made.stems), made.channels, -1)
    estimate = made.separate(mixture)[..., : answer.shape[-1]]
    assert answer.shape[-1] > samples - made.settings.hop_length
    difference = max(
        float((one - other).abs().max() / other.abs().max()) for one, other in zip(estimate, answer, strict=True)
    )
    # The angles of rotary positions are parameters there, and no weights.
    count = sum(one.numel() for name, one in theirs.named_parameters() if not name.endswith("freqs"))
    assert sum(one.numel() for one in made.parameters()) == count
    ParityRow(*row, count, difference).record(record_property)
    assert difference < 1e-5


def lower(theirs):
    """Count transformers from 0 where the first of three is left out but counted."""
    skipped = not any(key.startswith("layers.0.0.") for key in theirs.state_dict())
    return lambda found: f"{found[1]}{int(found[2]) - skipped}."


def architecture(options):
    return "Mel-Band RoFormer" if "num_bands" in options else "BS-RoFormer"


@pytest.mark.parametrize("case", list(CASES))
def test_our_roformer_is_unblend_s(case, record_property):
    options = CASES[case]
    module = unblend()
    torch.manual_seed(0)
    if "num_bands" in options:
        theirs = randomised(module.MelBandRoformer(**options, match_input_audio_length=True))
    else:
        theirs = randomised(module.BSRoformer(**options))
    check_same(theirs, options, 5000, (architecture(options), case, "unblend 1.0.0"), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(PUBLISHED))
def test_roformers_of_published_width_are_unblend_s(case, record_property):
    options = {**SMALL, **TEN_MS, "stereo": True, "heads": 8, "dim_head": 64, **PUBLISHED[case]}
    module = unblend()
    torch.manual_seed(0)
    theirs = randomised((module.MelBandRoformer if "num_bands" in options else module.BSRoformer)(**options))
    check_same(theirs, options, 22_050, (architecture(options), case, "unblend 1.0.0"), record_property)


# It asks for a transform without a window, and for a kernel of attention in a way that is going away.
@pytest.mark.filterwarnings("ignore:A window was not provided", "ignore:.*sdp_kernel.*")
@pytest.mark.parametrize("case", list(OLDER))
def test_our_roformer_is_the_first_package_s(case, record_property):
    options = {**OLDER[case], "zero_dc": False}
    mel = "num_bands" in options
    module = peer(f"bs_roformer.{'mel_band_roformer' if mel else 'bs_roformer'}")
    known = {key: value for key, value in options.items() if key != "zero_dc"}
    torch.manual_seed(0)
    kind = module.MelBandRoformer if mel else module.BSRoformer
    theirs = randomised(kind(**known, flash_attn=False))
    check_same(theirs, options, 5000, (architecture(options), case, "BS-RoFormer 0.4.1"), record_property)


@pytest.mark.parametrize("size", [(60, 44_100, 2048), (12, 16_000, 256), (128, 48_000, 4096)])
def test_mel_bands_hold_the_bins_of_a_mel_filter_bank(size):
    count, rate, n_fft = size
    bank = unblend()._slaney_mel_filter_bank(rate, n_fft, count) > 0
    bank[0, 0] = bank[-1, -1] = True
    held = torch.zeros_like(bank)
    for row, (first, end) in zip(held, mel_bands(count, rate, n_fft).ranges, strict=True):
        row[first:end] = True
    assert torch.equal(held, bank)
