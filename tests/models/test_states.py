import pytest
import torch
from torch import nn

from mss_models.catalog import build
from mss_models.networks.states import UndrawnWeights, drop_weights
from mss_models.presets import shipped

# A network of each way of preparing: folded, laid out anew, shared as it is.
SMALL = {
    "subband44": {"channels_by_scale": [8, 8, 8]},
    "htdemucs": {"width": 8, "transformer": {"layers": 1}, "segment_samples": 66150},
    "umxhq": {"hidden_size": 16},
}


def small(name):
    return build(shipped(name).architecture, {**shipped(name).settings, **SMALL[name]})


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_undrawn_weights_is_the_one_whose_weights_it_loads(name):
    torch.manual_seed(0)
    drawn = small(name).eval()
    with UndrawnWeights():
        undrawn = small(name).eval()
    undrawn.load_state_dict(drawn.state_dict(), assign=True)
    mixture = torch.randn(1, 2, 44100)
    with torch.no_grad():
        assert torch.equal(undrawn(mixture), drawn(mixture))
    for one, other in zip(undrawn.parameters(), drawn.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad


def test_nothing_is_drawn():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with UndrawnWeights():
        nn.LSTM(8, 8), nn.Conv1d(4, 4, 3), nn.Linear(4, 4), nn.BatchNorm1d(4)
    assert torch.equal(torch.get_rng_state(), before)
    nn.Linear(4, 4)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SMALL)
def test_a_prepared_network_separates_without_the_weights_it_learned(name, precision):
    torch.manual_seed(0)
    separator = small(name)
    separator.prepare(torch.device("cpu"), precision)
    mixture = torch.randn(1, 2, 30000)
    expected = separator.separate(mixture)
    drop_weights(separator)
    assert sum(weights.numel() for weights in separator.parameters()) == 0
    assert torch.equal(separator.separate(mixture), expected)
