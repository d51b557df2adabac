"""Threads and batches change nothing that can be heard: every family of models, through the engine, in both precisions.

Sums of another order differ in the last bits. Allowed are 1e-6 of full scale in fp32, and in bf16, which has 8 bits,
a difference of -60 dB of the mixture.
"""

import numpy as np
import pytest
import torch

from mss_cli.separation.engine import Engine
from mss_cli.separation.settings import EngineSettings
from mss_cli.weights.store import Card
from mss_models.catalog import build
from mss_models.presets import SHIPPED
from signals import music

CPU = torch.device("cpu")
RATE = 44_100
FOUR = ["vocals", "drums", "bass", "other"]
PRECISIONS = ["fp32", "bf16"]
# Threads and segments per call; the first is what the others are compared with.
USES = [(1, 1), (2, 1), (1, 3)]

UNET = {
    "stems": FOUR, "sample_rate": RATE, "channels": 2, "n_fft": 512, "hop_length": 128, "bins": 256,
    "head": "polar", "segment_frames": 32, "levels": 2, "base_channels": 4, "dropout_layers": 1,
}  # fmt: skip
MONO = UNET | {"stems": ["vocals"], "channels": 1, "sample_rate": 22_050, "head": "sigmoid"}
HYBRID = {
    "stems": FOUR, "width": 4, "depth": 2, "segment_samples": 10_000,
    "residual": {"in_decoder": True, "compression": 2, "lstm_from": None, "attention_from": None},
    "transformer": {"bottom_channels": 8, "layers": 2, "heads": 2},
}  # fmt: skip
SMALL = {
    "unet": ("unet", UNET),
    "unet-per-stem": ("unet-per-stem", {"networks": [MONO, MONO | {"stems": ["drums"]}], "residual": "other"}),
    "vocal-pitch-unet": (
        "vocal-pitch-unet",
        {key: MONO[key] for key in MONO if key not in ("stems", "head")}
        | {"wiring": "source-to-pitch", "n_fft": 1024, "hop_length": 256, "bins": 512},
    ),
    "subband-unet": (
        "subband-unet",
        {
            "stems": FOUR, "sample_rate": RATE, "channels": 2, "n_fft": 512, "hop_length": 128, "bins": 192,
            "head": "shares", "segment_frames": 48, "channels_by_scale": [6, 8, 10], "sub_bands": 4, "bottleneck": 3,
        },
    ),
    "hybrid-demucs": ("hybrid-demucs", HYBRID),
    "time-demucs": (
        "time-demucs",
        {**SHIPPED["demucs-v3"].settings, "width": 4, "depth": 4, "segment_samples": 10_000},
    ),
    "open-unmix": (
        "open-unmix",
        {
            "stems": FOUR, "sample_rate": RATE, "channels": 2, "n_fft": 1024, "hop_length": 256, "heard_bins": 300,
            "hidden_size": 8, "wiener_frames": 100,
        },
    ),
    "tdc-unet": (
        "tdc-unet",
        {
            "stems": ["vocals"], "sample_rate": RATE, "channels": 2, "n_fft": 256, "hop_length": 128,
            "segment_frames": 96, "block": "tfc-tdf", "levels": 3, "internal_channels": 4, "dense_layers": 2,
        },
    ),
    "roformer": (
        "roformer",
        {
            "stems": ["vocals", "drums"], "sample_rate": RATE, "n_fft": 128, "window_length": 128, "hop_length": 60,
            "segment_samples": 10_000, "width": 12, "depth": 2, "heads": 2, "head_width": 4,
            "band_widths": [2] * 8 + [5, 12, 32],
        },
    ),
    "tfc-tdf-v3": (
        "tfc-tdf-v3",
        {
            "stems": ["vocals", "drums"], "sample_rate": RATE, "channels": 2, "n_fft": 512, "hop_length": 128,
            "segment_samples": 10_000, "network_bins": 128, "network_sub_bands": 2, "network_scales": 2,
            "network_blocks": 1, "network_channels": 4, "network_growth": 4, "network_bottleneck": 2,
        },
    ),
    "scnet": (
        "scnet",
        {
            "stems": FOUR, "sample_rate": RATE, "channels": 2, "segment_samples": 10_000, "n_fft": 512,
            "hop_length": 128, "widths": [4, 8, 12], "dual_paths": 2,
        },
    ),
    "bag": (
        "bag",
        {
            "members": [
                {"architecture": "unet", "configuration": UNET},
                {"architecture": "classical", "configuration": {}},
            ]
        },
    ),
    "classical": ("classical", {}),
}  # fmt: skip


def estimates(family, mixture, *, precision, threads, batch, segment_seconds):
    """Separate (channel, sample) by a network of random weights; (stem, channel, sample), or None if it cannot."""
    torch.manual_seed(0)
    made = build(*family)
    separator = made.eval() if isinstance(made, torch.nn.Module) else made
    if precision not in separator.precisions:
        return None
    torch.set_num_threads(threads)
    separator.prepare(CPU, precision)
    card = Card("made", family[0], {}, separator.stems, separator.sample_rate, "a test", "MIT")
    engine = Engine(separator, card, CPU, precision, threads=threads, batch_size=batch)
    pairs = engine.estimate(
        lambda: iter(np.array_split(mixture, 5, axis=1)),
        EngineSettings(segment_seconds=segment_seconds),
        sample_rate=RATE,
        channels=2,
    )
    return np.concatenate([part for _, part in pairs], axis=-1)


def check_uses(family, *, seconds, precision, segment_seconds):
    """Assert that all uses agree; tell the largest difference, and its energy in dB of the mixture's."""
    mixture = np.ascontiguousarray(music(seconds).T, dtype=np.float32)
    settings = {"precision": precision, "segment_seconds": segment_seconds}
    first, *others = [estimates(family, mixture, threads=threads, batch=batch, **settings) for threads, batch in USES]
    if first is None:
        pytest.skip(f"{family[0]} does not compute in {precision}")
    assert np.abs(first).max() > 1e-3  # or they would agree for want of anything to differ
    largest = max(float(np.abs(other - first).max()) for other in others)
    power = max(float(np.square(other - first).mean(axis=(1, 2)).max()) for other in others)
    decibels = 10 * np.log10(power / float(np.square(mixture).mean()) + 1e-20)
    assert largest <= 1e-6 if precision == "fp32" else decibels <= -60
    return f"{largest:.1e}, {decibels:.0f} dB"


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_and_batches_hardly_change_a_small_model(name, precision):
    check_uses(SMALL[name], seconds=0.6, precision=precision, segment_seconds=0.25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name",
    [
        "thesis-vocals", "thesis-complex", "joint-source-to-pitch", "unet44", "subband44", "htdemucs", "hdemucs",
        "demucs-v3", "umxhq", "umx-crossed",
    ],
)  # fmt: skip
@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_and_batches_hardly_change_a_model_of_its_real_size(name, precision):
    shape = SHIPPED[name]
    found = check_uses((shape.architecture, shape.settings), seconds=4.0, precision=precision, segment_seconds=1.5)
    print(f"{name}, {precision}: {found}")  # noqa: T201 - seen with `-s`
