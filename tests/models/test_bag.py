"""Bags: weighted means of separators, weights for each stem."""

import pytest
import torch
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.configuration import ConfigurationError
from mss_models.errors import StateMismatch
from mss_models.networks.bag import Bag
from separators import check_separator
from toys import Gains

TINY = {
    "stems": ["drums", "vocals"],
    "width": 4,
    "depth": 2,
    "segment_samples": 8000,
    "residual": {"in_decoder": True, "compression": 2, "lstm_from": None, "attention_from": None},
    "transformer": {"bottom_channels": 8, "layers": 2, "heads": 2},
}
MEMBER = {"architecture": "hybrid-demucs", "configuration": TINY}
EXPERTS = {"members": [{**MEMBER, "weights": [1.0, 0.0]}, {**MEMBER, "weights": [0.0, 1.0]}]}
CPU = torch.device("cpu")


def noise(samples=8000, *, batch=1):
    return torch.randn(batch, 2, samples, generator=torch.Generator().manual_seed(4))


def separated(separator, mixture):
    separator.prepare(CPU, "fp32")
    return separator.separate(mixture)


def test_each_expert_gives_its_own_stem():
    torch.manual_seed(0)
    one, other = build("hybrid-demucs", TINY).eval(), build("hybrid-demucs", TINY).eval()
    alone = separated(one, noise())[:, 0], separated(other, noise())[:, 1]
    bag = Bag([one, other], [{"drums": 1.0}, {"vocals": 1.0}])
    assert (one.stems, other.stems) == (("drums",), ("vocals",))
    together = separated(bag, noise())
    assert_close(together, torch.stack(alone, dim=1), rtol=0, atol=1e-6)


def test_weights_make_a_mean():
    bag = Bag([Gains(), Gains()], [dict.fromkeys(Gains().stems, 3.0), dict.fromkeys(Gains().stems, 1.0)])
    assert_close(separated(bag, noise()), separated(Gains(), noise()))


def test_members_with_shorter_segments_cut_again():
    bag = Bag([Gains(segment_samples=1000), Gains(segment_samples=5000)])
    assert bag.segment_samples == 5000
    assert_close(separated(bag, noise(5000, batch=2)), separated(Gains(), noise(5000, batch=2)))


def test_the_laws_of_separators_hold_for_a_bag():
    torch.manual_seed(0)
    check_separator(build("bag", EXPERTS).eval(), samples=6000)


def test_a_bag_comes_back_from_its_configuration_and_its_state():
    torch.manual_seed(0)
    bag = build("bag", EXPERTS).eval()
    made = configuration_of(bag)
    again = build(made.architecture, made.settings).eval()
    assert configuration_of(again) == made
    again.load_state_dict(bag.state_dict())
    assert_close(separated(again, noise()), separated(bag, noise()))
    assert next(iter(bag.state_dict())).startswith("members.0.encoder.0.")


def test_weights_of_another_bag_are_refused():
    bag = build("bag", EXPERTS)
    state = {key: value for key, value in bag.state_dict().items() if not key.startswith("members.1.")}
    with pytest.raises(StateMismatch, match=r"missing: members\.1\.encoder"):
        bag.load_state_dict(state)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([{"drums": 1.0, "vocals": 1.0}], "weights for 2 members, got 1"),
        ([{"drums": 1.0}, {"drums": 1.0}], "no member of the bag has a weight for `vocals`"),
        ([{"drums": 1.0, "vocals": -1.0}, {}], "finite and at least 0"),
        ([{"drums": 1.0, "piano": 1.0}, {}], "member 0 of the bag has no stem `piano`"),
    ],
)
def test_weights_that_make_no_mean_are_refused(weights, message):
    members = [build("hybrid-demucs", TINY), build("hybrid-demucs", TINY)]
    with pytest.raises(ValueError, match=message):
        Bag(members, weights)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "at least one member"),
        ([MEMBER, {**MEMBER, "configuration": {**TINY, "sample_rate": 22_050}}], "the same sample_rate"),
        ([{**MEMBER, "weights": [1.0]}], "weights: expected one for each of drums, vocals"),
        ([{**MEMBER, "weights": ["a", "b"]}], "weights: expected a list of numbers"),
        ([{**MEMBER, "architecture": "unett"}], "unknown architecture `unett`"),
        ([{"architecture": "hybrid-demucs"}], "configuration: missing"),
        (["htdemucs"], "members: expected a list of settings"),
    ],
)
def test_faulty_configurations_of_bags_are_refused(members, message):
    with pytest.raises(ConfigurationError, match=message):
        build("bag", {"members": members})
