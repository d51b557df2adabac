"""What a network gets from its base, shown on one that writes nothing but its own."""

import pytest
import torch
from torch import nn

from mss_models.errors import StateMismatch
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.network_separator import NetworkSeparator, Signature
from mss_models.stft import StftSettings
from separators import check_separator

CPU = torch.device("cpu")
GRID = StftSettings(n_fft=64, hop_length=16)
SIGNATURE = Signature(("vocals", "other"), 8000, 1, 4000, GRID)


class Waves(NetworkSeparator[nn.Conv1d]):
    """A network of waveforms with one convolution."""

    precisions = ("fp32", "bf16")

    def __init__(self):
        super().__init__(nn.Conv1d(1, 2, 9, padding=4, bias=False), SIGNATURE)

    def forward(self, mixture):
        return self.network(mixture).unsqueeze(2)

    def separate(self, mixture):
        with torch.no_grad():
            return self.prepared_network(mixture.to(self.prepared_dtype)).float().unsqueeze(2)


def noise(samples=1000):
    return torch.rand(1, 1, samples, generator=torch.Generator().manual_seed(0)) - 0.5


def test_a_network_of_its_own_obeys_every_law():
    check_separator(Waves(), samples=4000)


def test_the_prepared_copy_is_cast_and_the_weights_stay():
    made = Waves()
    made.prepare(CPU, "bf16")
    assert made.prepared_dtype == torch.bfloat16
    assert made.prepared_network.weight.dtype == torch.bfloat16
    assert not made.prepared_network.weight.requires_grad
    assert made.network.weight.dtype == torch.float32
    assert made.network.weight.requires_grad


def test_a_precision_of_other_networks_is_refused():
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, got `fp16`"):
        Waves().prepare(CPU, "fp16")


def test_loaded_weights_are_never_heard_through_an_old_copy():
    made = Waves()
    made.prepare(CPU, "fp32")
    made.load_state_dict({"network.weight": torch.zeros(2, 1, 9)})
    with pytest.raises(RuntimeError, match="call `prepare` before `separate`"):
        made.separate(noise())
    made.prepare(CPU, "fp32")
    assert not made.separate(noise()).any()


def test_weights_that_do_not_fit_change_nothing():
    made = Waves()
    made.prepare(CPU, "fp32")
    before = made.separate(noise())
    with pytest.raises(StateMismatch, match=r"network.weight \(2, 1, 7\) instead of \(2, 1, 9\)"):
        made.load_state_dict({"network.weight": torch.zeros(2, 1, 7)})
    assert torch.equal(made.separate(noise()), before)


def test_a_module_without_its_own_way_to_separate_cannot_be_made():
    class Unfinished(NetworkSeparator[nn.Conv1d]):
        pass

    with pytest.raises(TypeError, match="separate"):
        Unfinished(nn.Conv1d(1, 1, 1), SIGNATURE)


@pytest.mark.parametrize("stems", [(), ("vocals", "vocals"), ("vocals", "")])
def test_stems_have_different_names(stems):
    with pytest.raises(ValueError, match="stems must be different names, at least one"):
        Signature(stems, 8000, 1, 4000, GRID)


def test_a_front_end_tells_the_longest_segment_of_so_many_frames():
    front_end = FrontEnd(8000, 2, GRID, 33, "peak")
    signature = front_end.signature(("vocals",), segment_frames=20)
    assert signature == Signature(("vocals",), 8000, 2, signature.segment_samples, GRID, "peak")
    assert GRID.frames(signature.segment_samples) == 20
    assert GRID.frames(signature.segment_samples + 1) == 21
    with pytest.raises(ValueError, match="segment_frames must be at least 4"):
        front_end.signature(("vocals",), segment_frames=3)
