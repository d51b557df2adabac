"""SCNet against the package `unblend` 1.0.0, with the same random weights.

It is not a dependency. Put it beside the environment and on the path:

    uv pip install --no-deps --target peers unblend==1.0.0
    PYTHONPATH=peers pytest tests/parity/test_scnet_parity.py
"""

import importlib
import importlib.util
import sys
import types

import pytest
import torch

from mss_models.networks.scnet.separator import ScnetSeparator
from mss_models.networks.scnet.settings import Bands, ScnetSettings
from parity_rows import ParityRow

FOUR = ("drums", "bass", "other", "vocals")
SMALL = {"widths": (4, 8, 16, 32), "n_fft": 1024, "hop_length": 256, "dual_paths": 4}
WIDE = Bands(shares=(0.23, 0.37, 0.4), strides=(1, 4, 4), kernels=(3, 4, 4), depths=(3, 3, 3))

# Stems, settings, samples.
CASES = {
    "plain": (FOUR, SMALL, 20_000),
    "plain, whole hops": (FOUR, SMALL, 256 * 64),
    "plain, two stems, transform not scaled": (("vocals", "other"), {**SMALL, "unitary": False}, 11_111),
    "plain, one stem, deeper": (
        ("vocals",),
        {**SMALL, "widths": (4, 8, 8, 16, 32), "n_fft": 2048, "dual_paths": 2, "expansion": 2},
        30_000,
    ),
    "plain, mono, wider inside": (
        ("vocals", "other"),
        {**SMALL, "channels": 1, "widths": (2, 8, 16), "compression": 2, "kernel": 5},
        9_999,
    ),
    "wide high bands (XL IHF)": (FOUR, {**SMALL, "bands": WIDE}, 20_000),
    "masked": (FOUR, {**SMALL, "masked": True}, 20_000),
    "masked, two stems, wide high bands": (("vocals", "other"), {**SMALL, "masked": True, "bands": WIDE}, 12_345),
}
# The published sizes; some seconds each on an idle core.
PUBLISHED = {
    "small, as published": (FOUR, {}, 22_050),
    "masked small, as published": (FOUR, {"masked": True}, 22_050),
    "large, as published": (
        FOUR,
        {"widths": (4, 64, 128, 256), "bands": Bands(shares=(0.225, 0.372, 0.403))},
        22_050,
    ),
    "XL IHF, as published": (FOUR, {"widths": (4, 64, 128, 256), "bands": WIDE, "dual_paths": 8}, 22_050),
}
ALL = [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in PUBLISHED)]


def their_module():
    """Import the network of a package whose other parts import audio libraries that we do not have."""
    if "unblend" not in sys.modules:  # else another test has put its stand-in there
        found = importlib.util.find_spec("unblend")
        if found is None:
            pytest.skip("unblend is not installed")
        stand_in = types.ModuleType("unblend")
        stand_in.__path__, stand_in.__spec__ = list(found.submodule_search_locations), found
        sys.modules["unblend"] = stand_in
    try:
        return importlib.import_module("unblend.scnet")
    except ImportError as error:
        pytest.skip(f"unblend.scnet cannot be imported: {error}")


def theirs_of(settings):
    module, bands = their_module(), settings.bands
    kind = module.SCNetMasked if settings.masked else module.SCNet
    torch.manual_seed(0)
    network = kind(
        list(settings.stems),
        audio_channels=settings.channels,
        dims=list(settings.widths),
        nfft=settings.n_fft,
        hop_size=settings.hop_length,
        win_size=settings.n_fft,
        normalized=settings.unitary,
        band_SR=list(bands.shares),
        band_stride=list(bands.strides),
        band_kernel=list(bands.kernels),
        conv_depths=list(bands.depths),
        compress=settings.compression,
        conv_kernel=settings.kernel,
        num_dplayer=settings.dual_paths,
        expand=settings.expansion,
    )
    return randomised(network)


def randomised(network):
    """Norms and biases away from where they begin; outputs that hang on the mixture more than on biases."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.data = 1 + noise if name.endswith("weight") else 0.1 * noise
        elif parameter.ndim == 4:
            parameter.data *= 1.5
    return network.eval()


def mixture(channels, samples, seed=6):
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(1, channels, samples, generator=generator).cumsum(dim=-1)
    return 0.1 * torch.randn(1, channels, samples, generator=generator) + 0.01 * steps


@pytest.mark.parametrize("case", ALL)
def test_our_scnet_is_the_package_s(case, record_property):
    stems, changes, samples = {**CASES, **PUBLISHED}[case]
    settings = ScnetSettings(stems, 44_100, **{"channels": 2, "segment_samples": 485_100, **changes})
    theirs, ours = theirs_of(settings), ScnetSeparator(settings).eval()
    ours.load_state_dict({f"network.{key}": value for key, value in theirs.state_dict().items()})
    parameters = sum(one.numel() for one in ours.parameters())
    assert parameters == sum(one.numel() for one in theirs.parameters())
    ours.prepare(torch.device("cpu"), "fp32")
    signal = mixture(settings.channels, samples)
    with torch.no_grad():
        answer, other = theirs(signal), theirs(mixture(settings.channels, samples, seed=7))
        estimate = ours(signal)
    largest = float(answer.abs().max())
    # What is compared hangs on the mixture, not on biases alone.
    assert float((answer - other).abs().max()) > 0.1 * largest
    difference = float((estimate - answer).abs().max()) / largest
    separated = float((ours.separate(signal) - answer).abs().max()) / largest
    ParityRow("SCNet", case, "unblend 1.0.0", parameters, max(difference, separated)).record(record_property)
    assert difference < 1e-5
    assert separated < 1e-5
