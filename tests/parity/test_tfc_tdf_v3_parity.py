"""TFC-TDF v3 (MDX23C) against the package `audio-separator` 0.47.1, with the same random weights.

It is not a dependency. Put it beside the environment and on the path:

    uv pip install --no-deps --target peers audio-separator==0.47.1
    PYTHONPATH=peers pytest tests/parity/test_tfc_tdf_v3_parity.py
"""

import functools
import importlib
import importlib.util
import sys
import types
import warnings

import pytest
import torch

from mss_models.networks.tfc_tdf_v3 import TfcTdfV3Shape
from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Separator, TfcTdfV3Settings
from mss_models.stft import StftSettings
from parity_rows import ParityRow

FOUR = ("vocals", "bass", "drums", "other")
TWO = ("vocals", "other")
SMALL = {"bins": 512, "sub_bands": 4, "scales": 3, "blocks": 2, "channels": 16, "growth": 8, "bottleneck": 4}
NORMS = {"instance": "InstanceNorm", "batch": "BatchNorm", "none": None}

# Stems, changes to the small network, window and hop, hops of the signal.
CASES = {
    "four stems": (FOUR, {}, (1024, 256), 31),
    "two stems, batch norm, ReLU": (TWO, {"norm": "batch", "activation": "relu"}, (1024, 256), 39),
    "one stem, ELU": (("vocals",), {"activation": "elu", "elu_alpha": 0.7}, (1024, 256), 15),
    "group norm, one sub-band": (TWO, {"norm": "group", "norm_groups": 4, "sub_bands": 1}, (1024, 256), 15),
    "no norm": (TWO, {"norm": "none"}, (1024, 256), 15),
    "two sub-bands, bottleneck 8, growth 0": (
        TWO,
        {"sub_bands": 2, "bottleneck": 8, "growth": 0, "blocks": 1},
        (1024, 256),
        23,
    ),
    # Norms over a handful of values make much of rounding: the last scale keeps some frames here, as in the published.
    "four scales, bins left out": (
        FOUR,
        {"scales": 4, "bins": 768, "sub_bands": 2, "bottleneck": 3, "channels": 8},
        (2048, 512),
        63,
    ),
    "other scales in time and frequency": (
        TWO,
        {"scale_frames": 3, "scale_bins": 4, "scales": 2, "sub_bands": 2},
        (1024, 256),
        71,
    ),
}
PUBLISHED = (TWO, {"bins": 4096, "scales": 5, "channels": 128, "growth": 128}, (8192, 1024), 31)


@functools.cache
def their_module():
    """Import the network of a package whose other parts import audio and model libraries that we do not have."""
    found = importlib.util.find_spec("audio_separator")
    if found is None:
        pytest.skip("audio_separator is not installed")
    places = list(found.submodule_search_locations)
    outer, inner = types.ModuleType("audio_separator"), types.ModuleType("audio_separator.separator")
    outer.__path__, inner.__path__ = places, [f"{place}/separator" for place in places]
    sys.modules.update({outer.__name__: outer, inner.__name__: inner})
    try:
        return importlib.import_module("audio_separator.separator.uvr_lib_v5.tfc_tdf_v3")
    except ImportError as error:
        pytest.skip(f"audio_separator's network cannot be imported: {error}")


def theirs_of(settings):
    shape, group = settings.shape, types.SimpleNamespace
    alone = len(settings.stems) == 1
    norm = f"GroupNorm{shape.norm_groups}" if shape.norm == "group" else NORMS[shape.norm]
    config = group(
        model=group(
            norm=norm,
            act=f"elu{shape.elu_alpha}" if shape.activation == "elu" else shape.activation,
            num_subbands=shape.sub_bands,
            num_scales=shape.scales,
            scale=[shape.scale_frames, shape.scale_bins],
            num_blocks_per_scale=shape.blocks,
            num_channels=shape.channels,
            growth=shape.growth,
            bottleneck_factor=shape.bottleneck,
        ),
        training=group(
            target_instrument=settings.stems[0] if alone else None,
            instruments=["vocals", "other"] if alone else list(settings.stems),
        ),
        audio=group(
            num_channels=settings.channels,
            dim_f=shape.bins,
            n_fft=settings.transform.n_fft,
            hop_length=settings.transform.hop_length,
        ),
    )
    torch.manual_seed(0)
    return randomised(their_module().TFC_TDF_net(config, torch.device("cpu")))


def randomised(network):
    """Norms and their statistics away from where they begin, so that each does something."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.ndim == 1:
            noise = torch.rand(tensor.shape, generator=generator) - 0.5
            tensor.data = 1 + noise if name.endswith(("weight", "var")) else 0.3 * noise
    return network.eval()


def answer_of(theirs, signal):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what the package asks of torch.stft
        return theirs(signal)


def both(case):
    """Their network and ours with the same weights, and a signal as long as a segment."""
    stems, changes, (n_fft, hop), hops = case
    shape = TfcTdfV3Shape(planes=4, targets=len(stems), **{**SMALL, **changes})
    settings = TfcTdfV3Settings(stems, 44_100, 2, StftSettings(n_fft, hop), hops * hop, shape)
    theirs, ours = theirs_of(settings), TfcTdfV3Separator(settings).eval()
    ours.load_state_dict({f"network.{key}": value for key, value in theirs.state_dict().items()})
    signal = 0.2 * torch.randn(1, 2, hops * hop, generator=torch.Generator().manual_seed(6))
    return theirs, ours, signal


def parameters_of(network):
    return sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize("case", CASES)
def test_our_tfc_tdf_v3_is_the_package_s(case, record_property):
    theirs, ours, signal = both(CASES[case])
    assert parameters_of(ours) == parameters_of(theirs)
    ours.prepare(torch.device("cpu"), "fp32")
    answer = answer_of(theirs, signal)
    if len(ours.stems) == 1:
        answer = answer.unsqueeze(1)
    with torch.no_grad():
        estimate = ours(signal)
    largest = float(answer.abs().max())
    difference = float((estimate - answer).abs().max()) / largest
    separated = float((ours.separate(signal) - answer).abs().max()) / largest
    worst = max(difference, separated)
    row = ParityRow("TFC-TDF v3 (MDX23C)", case, "audio-separator 0.47.1", parameters_of(ours), worst)
    row.record(record_property)
    assert difference < 1e-5
    assert separated < 1e-5


@pytest.mark.slow  # half a minute on an idle core
def test_tfc_tdf_v3_of_published_size_is_the_package_s(record_property):
    """In double precision: instance norms make so much of rounding that the package itself is 1.3e-5 off in single."""
    theirs, ours, signal = both(PUBLISHED)
    ours.prepare(torch.device("cpu"), "fp32")
    separated = ours.separate(signal)
    theirs.double().stft.window = torch.hann_window(PUBLISHED[2][0], dtype=torch.float64)
    answer = answer_of(theirs, signal.double())
    with torch.no_grad():
        estimate = ours.double()(signal.double())
    largest = float(answer.abs().max())
    difference = float((estimate - answer).abs().max()) / largest
    off = float((separated - answer).abs().max()) / largest
    package = "audio-separator 0.47.1, in double precision"
    row = ParityRow("TFC-TDF v3 (MDX23C)", "two stems, as published", package, parameters_of(ours), difference)
    row.record(record_property)
    assert difference < 1e-10
    assert off < 2e-5
