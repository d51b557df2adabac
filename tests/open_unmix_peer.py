"""The package openunmix as a peer: imported with a stand-in for torchaudio, of which its networks need nothing.

Run as a program it writes the known answer of `tests/models/test_open_unmix.py`:
``pip install --no-deps --target DIR openunmix==1.3.0; PYTHONPATH=DIR:tests python tests/open_unmix_peer.py``
"""

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from mss_models.networks.open_unmix.network import published_state
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.stft import StftSettings

KNOWN = Path(__file__).parent / "models" / "open_unmix_known.npz"
KNOWN_SETTINGS = OpenUnmixSettings(
    ("vocals", "rest"), 8000, 2, StftSettings(32, 8), 12, hidden_size=4, layers=2, wiener_frames=12
)


def peer_model() -> types.ModuleType:
    """Give ``openunmix.model``, or skip the test where the package is absent."""
    missing = "torchaudio" not in sys.modules
    if missing:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip("openunmix.model", reason="the package openunmix is not installed")
    finally:
        if missing:
            del sys.modules["torchaudio"]


def randomize(network: torch.nn.Module, seed: int) -> None:
    """Draw norms, standardisation and output scaling, which are the identity in a new network."""
    generator = torch.Generator().manual_seed(seed)
    ranges = {"running_var": (0.5, 2), "running_mean": (-0.5, 0.5), "input_mean": (-2, 0)}
    ranges |= {"input_scale": (0.2, 1), "output_mean": (0.2, 1), "output_scale": (0.2, 1)}
    for name, value in network.state_dict().items():
        kind = name.rsplit(".", 1)[-1]
        low, high = ranges.get(kind, (0.5, 1.5) if name.startswith("bn") and kind == "weight" else (0, 0))
        if low != high:
            value.uniform_(low, high, generator=generator)


def build_peer(settings: OpenUnmixSettings, *, seed: int = 0) -> torch.nn.Module:
    """Make the package's separator of these settings with random weights, in evaluation mode."""
    model = peer_model()
    torch.manual_seed(seed)
    targets = {}
    for place, stem in enumerate(settings.network_stems):
        targets[stem] = model.OpenUnmix(
            nb_bins=settings.stft.bins,
            nb_channels=settings.channels,
            hidden_size=settings.hidden_size,
            nb_layers=settings.layers,
            unidirectional=not settings.bidirectional,
            max_bin=settings.heard_bins,
        )
        randomize(targets[stem], seed + place)
    separator = model.Separator(
        targets,
        niter=settings.wiener_iterations,
        softmask=settings.wiener_softmask,
        residual=settings.residual is not None,
        sample_rate=float(settings.sample_rate),
        n_fft=settings.stft.n_fft,
        n_hop=settings.stft.hop_length,
        nb_channels=settings.channels,
        wiener_win_len=settings.wiener_frames or None,
    )
    separator.freeze()
    return separator


def build_ours(settings: OpenUnmixSettings, peer: torch.nn.Module) -> OpenUnmixSeparator:
    """Make our separator with the weights of the package's, loaded as published files are, prepared."""
    ours = OpenUnmixSeparator(settings).eval()
    for stem, network in zip(settings.network_stems, ours.members, strict=True):
        network.load_state_dict(published_state(peer.target_models[stem].state_dict()))
    ours.prepare(torch.device("cpu"), "fp32")
    return ours


def _write_known() -> None:
    """Write weights in half precision, a mixture, and what the package makes of them with and without its filter."""
    peer = build_peer(KNOWN_SETTINGS)
    for value in peer.target_models.state_dict().values():
        value.copy_(value.half())
    mixture = torch.randn(1, 2, 200, generator=torch.Generator().manual_seed(1)).half().float() / 4
    arrays = {"mixture": mixture.half().numpy(), "filtered": peer(mixture.clone()).numpy()}
    peer.niter = 0
    arrays["unfiltered"] = peer(mixture.clone()).numpy()
    for stem in KNOWN_SETTINGS.network_stems:
        state = peer.target_models[stem].state_dict()
        # One row of numbers, because each array of such a file takes 250 bytes more; in the order of the names.
        arrays[stem] = torch.cat([state[key].flatten().half() for key in sorted(state)]).numpy()
    np.savez_compressed(KNOWN, **arrays)


if __name__ == "__main__":
    _write_known()
