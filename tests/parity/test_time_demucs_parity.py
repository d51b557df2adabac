"""Demucs in the time domain against the package `demucs` 4.1.0, with the same random weights.

It is no dependency. Put it beside the environment and on the path:

    uv pip install --no-deps --target peers demucs==4.1.0 julius einops
    PYTHONPATH=peers pytest tests/parity/test_time_demucs_parity.py

The package reads the weights of version 2 too, but not with its unpadded contexts: those are compared with a slow twin
in `tests/models/test_time_demucs.py`, which was written from the paper and the package's second release.
"""

import importlib

import pytest
import torch

from mss_models.networks.demucs.doubling import double_rate, halve_rate
from mss_models.networks.demucs.published_time import published_time, second_version
from mss_models.networks.demucs.time import TimeDemucs
from mss_models.networks.demucs.time_separator import TimeDemucsSeparator
from parity_rows import ParityRow

FOUR = ["drums", "bass", "other", "vocals"]
# What version 2 was, but for its context.
OLD = {"gelu": False, "norm_starts": 6, "dconv_mode": 0, "lstm_layers": 2, "normalize": False}

# Stems, options, samples.
CASES = {
    "defaults, narrow": (FOUR, {"channels": 8}, 30_000),
    "recurrent pieces": (FOUR, {"channels": 8, "depth": 5, "dconv_attn": 5}, 100_000),
    "one sample too many": (FOUR, {"channels": 8, "depth": 3}, 8 * 64 + 1),
    "very short": (FOUR, {"channels": 8, "depth": 4}, 3),
    "branches in decoders, other norms": (
        FOUR,
        {"channels": 16, "dconv_mode": 3, "norm_starts": 0, "norm_groups": 2, "dconv_lstm": 2, "depth": 4},
        12_345,
    ),
    "wide LSTM, no branches": (FOUR, {"channels": 8, "dconv_mode": 0, "lstm_layers": 2, "depth": 5}, 20_000),
    "two mono stems, no resampling": (
        ["speech", "noise"],
        {"channels": 8, "audio_channels": 1, "resample": False, "context": 2, "depth": 4, "samplerate": 16_000},
        9_999,
    ),
    "version 2 without context": (FOUR, {**OLD, "channels": 8, "context": 0}, 30_000),
    "another kernel": (FOUR, {"channels": 8, "kernel_size": 6, "stride": 3, "depth": 3, "gelu": False}, 5_000),
}


def peer(module):
    """Import a module of a peer, or skip by its name."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} cannot be imported: {error}")


def randomised(network):
    """Norms, scales and biases away from where they begin, so that each does something."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.data = 1 + noise if name.endswith("weight") else 0.3 * noise
            if name.endswith("scale"):
                parameter.data = 0.5 + noise
    return network.eval()


def mixture(channels, samples):
    generator = torch.Generator().manual_seed(6)
    steps = torch.randn(2, channels, samples, generator=generator).cumsum(dim=-1)
    # With little offset, which would hide differences of what the network makes of the rest.
    steps = steps - steps.mean(dim=-1, keepdim=True)
    return 0.1 * torch.randn(2, channels, samples, generator=generator) + 0.01 * steps + 0.01


def both(case):
    """Ours and theirs with the same weights, and a mixture."""
    stems, options, samples = CASES[case]
    torch.manual_seed(0)
    theirs = randomised(peer("demucs.demucs").Demucs(stems, **options))
    ours = TimeDemucsSeparator(published_time("demucs.demucs.Demucs", [stems], options)).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, mixture(ours.channels, samples)


def difference(estimate, answer):
    return float((estimate - answer).abs().max() / answer.abs().max())


def row(network, case, found):
    parameters = sum(one.numel() for one in network.parameters())
    return ParityRow("Demucs in the time domain", case, "demucs 4.1.0", parameters, found)


@pytest.mark.parametrize("case", list(CASES))
def test_our_network_is_the_package_s(case, record_property):
    ours, theirs, signal = both(case)
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in theirs.parameters())
    with torch.no_grad():
        found = difference(ours(signal), theirs(signal))
    row(ours, case, found).record(record_property)
    assert found < 1e-5


@pytest.mark.parametrize("case", list(CASES))
def test_what_separates_is_the_package_s_too(case, record_property):
    ours, theirs, signal = both(case)
    ours.prepare(torch.device("cpu"), "fp32")
    with torch.no_grad():
        answer = theirs(signal)
    found = difference(ours.separate(signal), answer)
    row(ours, f"{case}; as `separate` runs it", found).record(record_property)
    assert found < 1e-5


@pytest.mark.parametrize(("channels", "parameters"), [(64, 133_753_064), (48, 75_274_560)])
def test_the_number_of_parameters_is_the_package_s(channels, parameters):
    with torch.device("meta"):
        ours = TimeDemucs(published_time("Demucs", [FOUR], {"channels": channels}))
        theirs = peer("demucs.demucs").Demucs(FOUR, channels=channels)
    assert sum(one.numel() for one in theirs.parameters()) == parameters
    assert {key: one.shape for key, one in ours.state_dict().items()} == {
        key: one.shape for key, one in theirs.state_dict().items()
    }


def test_weights_of_version_2_get_the_names_that_the_package_gives_them():
    torch.manual_seed(0)
    theirs = peer("demucs.demucs").Demucs(FOUR, channels=4, **OLD)
    state = theirs.state_dict()
    old = {}
    for key, value in state.items():
        part, index, place, *name = key.split(".")
        old[".".join([part, index, "2" if part != "lstm" and place == "3" else place, *name])] = value
    assert set(old) != set(state)
    settings, ours = second_version(old)
    assert (settings.width, settings.depth, settings.lstm_layers, settings.context) == (4, 6, 2, 1)
    theirs.load_state_dict(dict(old))
    assert set(ours) == set(theirs.state_dict())
    TimeDemucs(settings).load_state_dict(ours)


@pytest.mark.parametrize("samples", [1, 2, 64, 65, 10_007])
def test_resampling_is_julius_s(samples):
    julius = peer("julius")
    signal = mixture(2, samples)
    for ours, answer in (
        (double_rate(signal), julius.resample_frac(signal, 1, 2)),
        (halve_rate(signal), julius.resample_frac(signal, 2, 1)),
    ):
        assert ours.shape == answer.shape
        torch.testing.assert_close(ours, answer, rtol=0, atol=3e-6)
