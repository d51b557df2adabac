import pytest
import torch

from mss_cli.training.batches import Batch
from mss_cli.training.objective import SeparationObjective, normalized
from mss_models.catalog import build
from mss_models.losses import Term

NETWORK = {
    "sample_rate": 8000, "channels": 1, "n_fft": 64, "hop_length": 16, "bins": 32, "head": "sigmoid",
    "segment_frames": 32, "levels": 2, "base_channels": 2, "dropout_layers": 0,
}  # fmt: skip
STEMS = ("vocals", "drums", "other")


def per_stem(residual):
    torch.manual_seed(0)
    networks = [{"stems": [stem], **NETWORK} for stem in ("vocals", "drums")]
    return build("unet-per-stem", {"networks": networks, "residual": residual})


def batch(level=1.0):
    stems = torch.rand(3, 3, 1, 400, generator=torch.Generator().manual_seed(0)) - 0.5
    return Batch(level * stems, None, torch.zeros(3, dtype=torch.int64))


def test_a_residual_is_not_learned_and_changes_no_loss():
    values = []
    for residual in (None, "other"):
        network = per_stem(residual).eval()
        objective = SeparationObjective(network, STEMS, [Term("magnitude-l1"), Term("sdr")])
        terms = objective.terms(network, batch(), 0.0)
        objective.total(terms).backward()
        assert all(weight.grad is not None for weight in network.parameters())
        assert set(objective.scores(network, batch())) == {"vocals", "drums"}
        values.append({name: float(value.detach()) for name, value in terms.items()})
    assert values[0] == pytest.approx(values[1])


def test_the_true_stems_have_a_perfect_loss_and_their_scores_are_decibels():
    class Cheat(torch.nn.Module):
        def forward(self, mixture):
            return 0.9 * batch().stems[:, :2]

    network = per_stem(None)
    objective = SeparationObjective(network, STEMS, [Term("waveform-l1")])
    scores = objective.scores(Cheat(), batch())
    total, count = scores["vocals"]
    assert (total / count, count) == (pytest.approx(20.0, abs=1e-3), 3)  # a tenth is missing


def test_silent_stems_have_no_score():
    silent = batch()
    silent.stems[0, 0] = 0
    network = per_stem(None).eval()
    scores = SeparationObjective(network, STEMS, [Term("waveform-l1")]).scores(network, silent)
    assert scores["vocals"][1] == 2
    assert scores["drums"][1] == 3


def test_a_peak_network_hears_mixtures_of_peak_one():
    scaled = normalized(batch(level=0.01).stems, "peak").sum(dim=1)
    assert torch.allclose(scaled.abs().amax(dim=(1, 2)), torch.ones(3))
    assert normalized(torch.zeros(1, 2, 1, 8), "peak").abs().max() == 0
