"""Hybrid Demucs against the packages `demucs` 4.1.0 and `unblend` 1.0.0, with the same random weights.

They are not dependencies. Put them beside the environment and on the path:

    uv pip install --no-deps --target peers demucs==4.1.0 julius einops unblend==1.0.0
    PYTHONPATH=peers pytest tests/parity/test_demucs_parity.py
"""

import importlib
import importlib.util
import sys
import types
from fractions import Fraction

import pytest
import torch

from mss_models.networks.demucs.hybrid import HybridDemucs
from mss_models.networks.demucs.published import published_hybrid
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from parity_rows import ParityRow

FOUR = ["drums", "bass", "other", "vocals"]
SIX = [*FOUR, "guitar", "piano"]
TRANSFORMER = {"t_layers": 3, "t_heads": 4, "segment": Fraction(3, 5), "dconv_mode": 3, "dconv_comp": 4}
MAGNITUDES = {"cac": False, "nfft": 1024, "depth": 5}

# Class, stems, options, samples.
CASES = {
    "hybrid": ("HDemucs", FOUR, {"channels": 16}, 40_000),
    "hybrid, short": ("HDemucs", FOUR, {"channels": 16}, 700),
    "hybrid, recurrent pieces": ("HDemucs", FOUR, {"channels": 8, "nfft": 1024, "depth": 5}, 90_000),
    "hybrid, merged at the last level": ("HDemucs", FOUR, {"channels": 8, "nfft": 1024, "depth": 4}, 20_000),
    "hybrid, six stems, branches in decoders": ("HDemucs", SIX, {"channels": 16, "dconv_mode": 3}, 20_000),
    "hybrid, no branches, norms everywhere": (
        *("HDemucs", FOUR),
        {"channels": 16, "dconv_mode": 0, "norm_starts": 0, "freq_emb": 0.0, "context": 0},
        20_000,
    ),
    "hybrid, magnitudes": ("HDemucs", FOUR, {"channels": 8, **MAGNITUDES, "wiener_iters": -1, "end_iters": -1}, 30_000),
    "hybrid, magnitudes, phase by the filter": ("HDemucs", FOUR, {"channels": 8, **MAGNITUDES}, 30_000),
    "hybrid, magnitudes, filtered once in two windows": (
        *("HDemucs", FOUR),
        {"channels": 8, **MAGNITUDES, "wiener_iters": 1, "end_iters": 1},
        80_000,
    ),
    "hybrid, in two bands": ("HDemucs", FOUR, {"channels": 8, "multi_freqs": [0.3]}, 30_000),
    "hybrid, in three bands, branches in decoders": (
        *("HDemucs", FOUR),
        {"channels": 8, "multi_freqs": [0.25, 0.5], "multi_freqs_depth": 3, "dconv_mode": 3},
        20_000,
    ),
    "hybrid, zeros beyond the ends": ("HDemucs", FOUR, {"channels": 8, "hybrid_old": True}, 30_001),
    "hybrid, magnitudes in bands, zeros beyond the ends": (
        *("HDemucs", FOUR),
        {"channels": 8, **MAGNITUDES, "multi_freqs": [0.4], "multi_freqs_depth": 1, "hybrid_old": True},
        30_720,
    ),
    "transformer": ("HTDemucs", FOUR, {"channels": 16, "bottom_channels": 32, **TRANSFORMER}, 26_460),
    "transformer, shorter than the training": (
        *("HTDemucs", FOUR),
        {"channels": 16, "bottom_channels": 32, **TRANSFORMER},
        9_999,
    ),
    "transformer, longer than the training": (
        *("HTDemucs", FOUR),
        {"channels": 16, "bottom_channels": 32, **TRANSFORMER, "use_train_segment": True, "segment": Fraction(1, 5)},
        8_820,
    ),
    "transformer, six stems, no resampling": ("HTDemucs", SIX, {"channels": 16, **TRANSFORMER, "depth": 3}, 26_460),
}


def peer(module):
    """Import a module of a peer, or skip by its name."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} cannot be imported: {error}")


def without_its_init(package, module):
    """Import a module of a peer whose package imports audio and network libraries that we do not have."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    stand_in = types.ModuleType(package)
    stand_in.__path__ = list(found.submodule_search_locations)
    sys.modules[package] = stand_in
    return peer(f"{package}.{module}")


def randomised(network):
    """Norms, scales and biases away from where they begin, so that each does something."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.data = 1 + noise if name.endswith(("weight", "scale")) else 0.3 * noise
    return network.eval()


def mixture(samples):
    generator = torch.Generator().manual_seed(6)
    steps = torch.randn(2, 2, samples, generator=generator).cumsum(dim=-1)
    return 0.1 * torch.randn(2, 2, samples, generator=generator) + 0.01 * steps


def row(network, name, case, against, difference):
    parameters = sum(one.numel() for one in network.parameters())
    kind = "Hybrid Transformer Demucs" if name == "HTDemucs" else "Hybrid Demucs"
    return ParityRow(kind, case, against, parameters, difference)


@pytest.mark.parametrize("case", list(CASES))
def test_our_hybrid_is_the_package_s(case, record_property):
    name, stems, options, samples = CASES[case]
    theirs_kind = getattr(peer(f"demucs.{name.lower()}"), name)
    torch.manual_seed(0)
    theirs = randomised(theirs_kind(stems, **options))
    ours = HybridDemucs(published_hybrid(name, [stems], options)).eval()
    ours.load_state_dict(theirs.state_dict())
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in theirs.parameters())
    signal = mixture(samples)
    with torch.no_grad():
        answer, estimate = theirs(signal), ours(signal)
    difference = float((estimate - answer).abs().max() / answer.abs().max())
    row(ours, name, case, "demucs 4.1.0", difference).record(record_property)
    assert difference < 1e-5


@pytest.mark.parametrize("case", list(CASES))
def test_what_separates_is_the_package_s_too(case, record_property):
    name, stems, options, samples = CASES[case]
    theirs_kind = getattr(peer(f"demucs.{name.lower()}"), name)
    torch.manual_seed(0)
    theirs = randomised(theirs_kind(stems, **options))
    ours = HybridDemucsSeparator(published_hybrid(name, [stems], options))
    ours.load_state_dict(theirs.state_dict())
    ours.prepare(torch.device("cpu"), "fp32")
    signal = mixture(samples)
    with torch.no_grad():
        answer = theirs(signal)
    difference = float((ours.separate(signal) - answer).abs().max() / answer.abs().max())
    row(ours, name, f"{case}; as `separate` runs it", "demucs 4.1.0", difference).record(record_property)
    assert difference < 1e-5


def test_our_transformer_is_unblend_s(record_property):
    module = without_its_init("unblend", "htdemucs")
    options = {"channels": 16, "bottom_channels": 32, **TRANSFORMER}
    torch.manual_seed(0)
    theirs = randomised(module.HTDemucs(FOUR, **options))
    ours = HybridDemucs(published_hybrid("HTDemucs", [FOUR], options)).eval()
    ours.load_state_dict(theirs.state_dict())
    signal = mixture(26_460)
    with torch.no_grad():
        answer, estimate = theirs(signal), ours(signal)
    difference = float((estimate - answer).abs().max() / answer.abs().max())
    row(ours, "HTDemucs", "transformer", "unblend 1.0.0", difference).record(record_property)
    assert difference < 1e-5
