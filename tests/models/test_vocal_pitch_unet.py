"""Vocals and pitch: what flows in each wiring, sizes, losses, phases, and the separators made of them."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.unet import Unet, UnetSettings
from mss_models.networks.vocal_pitch_losses import pitch_loss, source_loss, vocal_pitch_losses
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.networks.vocal_pitch_unet import VocalPitchEstimate, VocalPitchSettings, VocalPitchUnet, Wiring
from mss_models.separator import PitchSeparator
from mss_models.stft import StftSettings, stft
from separators import check_separator

CPU = torch.device("cpu")
FRONT_END = FrontEnd(22_050, 1, StftSettings(1024, 256), 512, "peak", "window-sum")
WIRINGS = get_args(Wiring)
USABLE = [
    wiring for wiring in WIRINGS if not wiring.startswith("oracle") and wiring not in ("pitch-only", "source-only")
]


def settings(wiring: str, **others) -> VocalPitchSettings:
    return VocalPitchSettings(wiring, FRONT_END, 16, **{"levels": 3, "base_channels": 4, "dropout_layers": 2, **others})


def network(wiring: str, **others) -> VocalPitchUnet:
    torch.manual_seed(0)
    made = VocalPitchUnet(settings(wiring, **others)).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.05, 0.2)
    return made


def separator(wiring: str) -> VocalPitchSeparator:
    made = VocalPitchSeparator(settings(wiring)).eval()
    made.network.load_state_dict(network(wiring).state_dict())
    return made


def magnitudes(batch: int = 2, frames: int = 10, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (batch, 1, 513, frames))).float()


def saliences(batch: int = 2, frames: int = 10, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (batch, 360, frames))).float()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.9, 0.9, shape)).float()


def run(made: VocalPitchUnet, mixture: Tensor) -> VocalPitchEstimate:
    like = (mixture.shape[0], mixture.shape[-1])
    return made(mixture, vocals_magnitude=magnitudes(*like, seed=1), salience=saliences(*like, seed=2))


def present(estimate: VocalPitchEstimate) -> set[str]:
    names = [field.name for field in dataclasses.fields(estimate)]
    return {name for name in names if getattr(estimate, name) is not None}


BOTH = {"mask", "magnitude", "salience"}
GIVEN = {
    "pitch-only": {"salience"},
    "source-only": {"mask", "magnitude"},
    "oracle-vocals": {"salience"},
    "oracle-pitch": {"mask", "magnitude"},
    "shared-encoder": BOTH,
    "cross-stitch": BOTH,
    "source-to-pitch": BOTH,
    "pitch-to-source": BOTH,
    "source-pitch-source-pitch": BOTH | {"inner_magnitude", "inner_salience"},
    "separately-trained": BOTH,
}


@pytest.mark.parametrize("wiring", WIRINGS)
def test_each_wiring_gives_what_the_thesis_lists(wiring):
    estimate = run(network(wiring), magnitudes())
    assert present(estimate) == GIVEN[wiring]
    shapes = {
        "mask": (2, 1, 513, 10),
        "magnitude": (2, 1, 513, 10),
        "salience": (2, 360, 10),
        "inner_magnitude": (2, 1, 513, 10),
        "inner_salience": (2, 360, 10),
    }
    assert {name: tuple(getattr(estimate, name).shape) for name in present(estimate)} == {
        name: shapes[name] for name in GIVEN[wiring]
    }


@pytest.mark.parametrize("wiring", [wiring for wiring in WIRINGS if "mask" in GIVEN[wiring]])
def test_the_mask_is_applied_to_the_mixture_and_leaves_out_the_highest_bin(wiring):
    mixture = magnitudes()
    estimate = run(network(wiring), mixture)
    assert torch.equal(estimate.magnitude, estimate.mask * mixture)
    assert estimate.mask[:, :, :512].min() > 0
    assert estimate.mask.max() < 1
    assert not estimate.mask[:, :, 512].any()


def plain(made: VocalPitchUnet, name: str, *features: Tensor) -> Tensor:
    return made.networks[name](torch.cat(features, dim=1)).sigmoid()


def rows(salience: Tensor) -> Tensor:
    """The 360 pitches as the lowest of 512 rows, zeros above."""
    image = torch.zeros(salience.shape[0], 1, 512, salience.shape[-1])
    image[:, 0, :360] = salience
    return image


@torch.no_grad()
def test_the_wirings_are_those_of_the_table():
    mixture, vocals, truth = magnitudes(), magnitudes(seed=1), saliences(seed=2)
    seen = mixture[:, :, :512]
    made = network("pitch-only")
    assert_close(run(made, mixture).salience, plain(made, "pitch", seen)[:, 0, :360])
    made = network("source-only")
    assert_close(run(made, mixture).mask[:, :, :512], plain(made, "source", seen))
    made = network("oracle-vocals")
    assert_close(run(made, mixture).salience, plain(made, "pitch", vocals[:, :, :512])[:, 0, :360])
    made = network("oracle-pitch")
    assert_close(run(made, mixture).mask[:, :, :512], plain(made, "source", seen, rows(truth)))
    for wiring in ("source-to-pitch", "separately-trained"):
        made = network(wiring)
        mask = plain(made, "source", seen)
        assert_close(run(made, mixture).mask[:, :, :512], mask)
        assert_close(run(made, mixture).salience, plain(made, "pitch", mask * seen)[:, 0, :360])
    made = network("pitch-to-source")
    pitch = plain(made, "pitch", seen)[:, 0, :360]
    assert_close(run(made, mixture).salience, pitch)
    assert_close(run(made, mixture).mask[:, :, :512], plain(made, "source", seen, rows(pitch)))


@torch.no_grad()
def test_source_pitch_source_pitch_hears_the_first_estimates_instead_of_the_mixture():
    mixture = magnitudes()
    seen = mixture[:, :, :512]
    made = network("source-pitch-source-pitch")
    estimate = run(made, mixture)
    vocals = plain(made, "source", seen) * seen
    pitch = plain(made, "pitch", vocals)[:, 0, :360]
    assert_close(estimate.inner_magnitude[:, :, :512], vocals)
    assert_close(estimate.inner_salience, pitch)
    mask = plain(made, "source-2", vocals, rows(pitch))
    assert_close(estimate.mask[:, :, :512], mask)
    assert_close(estimate.salience, plain(made, "pitch-2", mask * seen)[:, 0, :360])


@torch.no_grad()
def test_a_shared_encoder_is_two_unets_with_equal_encoders():
    made, mixture = network("shared-encoder"), magnitudes()
    estimate = run(made, mixture)
    both = made.networks["both"]
    for decoder, expected in zip(both.decoders, (estimate.mask, estimate.salience), strict=True):
        unet = Unet(both.settings).eval()
        unet.encoder.load_state_dict(both.encoders[0].state_dict())
        unet.decoder.load_state_dict(decoder.state_dict())
        output = unet(mixture[:, :, :512]).sigmoid()
        actual = expected[:, :, :512] if expected is estimate.mask else expected
        assert_close(actual, output if expected is estimate.mask else output[:, 0, :360])


@torch.no_grad()
@pytest.mark.parametrize(("own", "output"), [(0, "mask"), (1, "salience")])
def test_cross_stitched_tasks_meet_in_the_bottleneck_alone(own, output):
    made, mixture = network("cross-stitch"), magnitudes()
    both = made.networks["both"]
    bottleneck, other = both.decoders[own][0].convolution.weight, both.encoders[1 - own][0].convolution.weight
    for closed in (False, True):
        bottleneck.mul_(not closed)
        before = getattr(run(made, mixture), output)
        other.mul_(1.5)
        after = getattr(run(made, mixture), output)
        assert torch.equal(after, before) == closed


@pytest.mark.parametrize(
    ("wiring", "unets"),
    [
        ("pitch-only", 1.0),
        ("source-only", 1.0),
        ("oracle-vocals", 1.0),
        ("oracle-pitch", 1.0),
        ("source-to-pitch", 2.0),
        ("pitch-to-source", 2.0),
        ("source-pitch-source-pitch", 4.0),
        ("separately-trained", 2.0),
        ("shared-encoder", 1.56),  # 22 % fewer than two: an encoder is lighter than a decoder with its skips
        ("cross-stitch", 2.67),  # the first layer of each decoder hears two bottlenecks
    ],
)
def test_sizes_in_units_of_the_thesis_unet(wiring, unets):
    def parameters(module):
        return sum(parameter.numel() for parameter in module.parameters())

    size = parameters(VocalPitchUnet(VocalPitchSettings(wiring, FRONT_END, 128)))
    assert round(size / parameters(Unet(UnetSettings())), 2) == unets


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_parameter_learns_from_the_joint_loss(wiring):
    made = network(wiring, dropout_layers=0).train()
    losses = vocal_pitch_losses(magnitudes(seed=3), saliences(seed=4), run(made, magnitudes()))
    losses.total().backward()
    silent = [name for name, value in made.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_losses_are_means_over_elements():
    estimate = VocalPitchEstimate(
        magnitude=torch.tensor([0.0, 0.5]).view(1, 1, 2, 1), salience=torch.full((1, 360, 1), 0.25)
    )
    losses = vocal_pitch_losses(torch.full((1, 1, 2, 1), 1.0), torch.zeros(1, 360, 1), estimate)
    assert_close(losses.source, torch.tensor(0.75))
    assert_close(losses.pitch, torch.tensor(0.0625))
    assert losses.inner_source is None
    assert losses.inner_pitch is None
    assert_close(losses.total(), torch.tensor(0.8125))
    assert_close(losses.total(pitch_weight=2.0), torch.tensor(0.875))


def test_all_four_estimates_of_source_pitch_source_pitch_are_in_the_loss():
    estimate = VocalPitchEstimate(
        magnitude=torch.full((1, 1, 3, 2), 1.0),
        salience=torch.full((1, 360, 2), 0.1),
        inner_magnitude=torch.full((1, 1, 3, 2), 10.0),
        inner_salience=torch.full((1, 360, 2), 0.2),
    )
    losses = vocal_pitch_losses(torch.zeros(1, 1, 3, 2), torch.zeros(1, 360, 2), estimate)
    assert_close(losses.total(), torch.tensor(11.05))


def test_losses_of_other_shapes_or_of_nothing_are_refused():
    with pytest.raises(ShapeError, match="as the reference"):
        source_loss(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 1))
    with pytest.raises(ShapeError, match="as the reference"):
        pitch_loss(torch.zeros(1, 360, 1), torch.zeros(1, 360, 2))
    with pytest.raises(ValueError, match="no loss"):
        vocal_pitch_losses(torch.zeros(1), torch.zeros(1), VocalPitchEstimate()).total()


def test_trained_together_the_pitch_teaches_the_source_network_and_separately_it_does_not():
    for wiring, reached in (("source-to-pitch", True), ("separately-trained", False)):
        made = network(wiring).train()
        pitch_loss(saliences(seed=4), run(made, magnitudes()).salience).backward()
        gradients = [parameter.grad for parameter in made.networks["source"].parameters()]
        assert any(gradient is not None and bool(gradient.any()) for gradient in gradients) == reached


def test_a_separate_training_first_moves_the_source_and_then_the_pitch_alone():
    made = network("separately-trained", dropout_layers=2).train()
    assert made.settings.phases == ("source", "pitch")
    for phase, other in (("source", "pitch"), ("pitch", "source")):
        made.begin(phase)
        before = {name: value.clone() for name, value in made.state_dict().items()}
        optimizer = torch.optim.Adam(made.trainable(phase), lr=1e-2)
        losses = vocal_pitch_losses(magnitudes(seed=3), saliences(seed=4), run(made, magnitudes()))
        losses.total().backward()
        optimizer.step()
        changed = {name.split(".")[1] for name, value in made.state_dict().items() if not value.equal(before[name])}
        assert changed == {phase}, f"{other} must stand still, norms included"
        assert all(not parameter.requires_grad for parameter in made.networks[other].parameters())


def test_in_its_first_phase_the_pitch_network_is_not_run():
    made = network("separately-trained")
    made.begin("source")
    assert run(made.train(), magnitudes()).salience is None
    assert run(made.eval(), magnitudes()).salience is not None


def test_a_frozen_source_network_has_no_dropout():
    made = network("separately-trained")
    made.begin("pitch")
    made.train()
    assert torch.equal(run(made, magnitudes()).mask, run(made, magnitudes()).mask)
    assert not torch.equal(run(made, magnitudes()).salience, run(made, magnitudes()).salience)


def test_phases_that_a_wiring_has_not_are_refused():
    with pytest.raises(ValueError, match="`shared-encoder` has no phase `pitch`"):
        network("shared-encoder").begin("pitch")


def test_magnitudes_of_a_waveform_of_peak_1_lie_within_0_and_1():
    made = network("source-only")
    loudest = made.magnitude(torch.ones(1, 1, 5000))
    assert loudest.min() >= 0
    assert_close(loudest.max(), torch.tensor(1.0))
    assert loudest.shape == (1, 1, 513, FRONT_END.stft.frames(5000))


def test_frame_times_are_the_centres_of_the_frames():
    made = network("source-only")
    frames = FRONT_END.stft.frames(8 * 256)
    times = made.frame_times(frames)
    for sample in (256, 3 * 256, 7 * 256):  # a click is loudest in the frame centred on it
        click = torch.zeros(1, 1, 8 * 256)
        click[..., sample] = 1
        energy = stft(click, FRONT_END.stft)[0, 0].abs().square().sum(dim=0)
        assert times[energy.argmax()] * 22_050 == pytest.approx(sample)


@pytest.mark.parametrize(
    ("wiring", "missing"), [("oracle-vocals", "needs the true vocals"), ("oracle-pitch", "needs the true salience")]
)
def test_a_missing_oracle_is_named(wiring, missing):
    with pytest.raises(ValueError, match=missing):
        network(wiring)(magnitudes())


def test_maps_of_other_axes_are_refused():
    made = network("oracle-pitch")
    with pytest.raises(ShapeError, match=r"mixture_magnitude.*\(batch, 1, 513, frame\)"):
        made(magnitudes()[:, :, :512])
    with pytest.raises(ShapeError, match=r"salience.*\(batch, 360, frame\)"):
        made(magnitudes(), salience=saliences(frames=11))
    with pytest.raises(ShapeError, match="vocals_magnitude"):
        network("oracle-vocals")(magnitudes(), vocals_magnitude=magnitudes(batch=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wiring": "pitch"}, "wiring must be one of pitch-only"),
        ({"front_end": dataclasses.replace(FRONT_END, channels=2)}, "channels must be 1"),
        ({"front_end": dataclasses.replace(FRONT_END, bins=359)}, "bins must be at least 360"),
        ({"front_end": dataclasses.replace(FRONT_END, stft=StftSettings(1024, 384))}, "hop_length must divide 512"),
        ({"segment_frames": 3}, "segment_frames must be at least 4"),
        ({"dropout_layers": 3}, r"dropout_layers must be in \[0, 2\]"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(settings("source-only"), **change)


@pytest.mark.parametrize("wiring", [*USABLE, "source-only"])
def test_wirings_that_give_vocals_obey_the_laws(wiring):
    check_separator(separator(wiring), samples=4000)


def test_bf16_obeys_the_laws():
    check_separator(separator("source-pitch-source-pitch"), precision="bf16", samples=4000)


@pytest.mark.parametrize("wiring", USABLE)
@pytest.mark.parametrize("samples", [1, 256, 257, 5000])
def test_the_prepared_way_agrees_with_the_differentiable_way(wiring, samples):
    made = separator(wiring)
    made.prepare(CPU, "fp32")
    mixture = noise(2, 1, samples)
    with torch.no_grad():
        estimate = made.estimate(mixture)
        assert_close(made.separate(mixture), made(mixture), rtol=0, atol=2e-6)
    salience = made.salience(mixture)
    frames = -(-samples // 256)
    assert salience.shape == (2, 360, frames)
    assert_close(salience, estimate.salience[..., 1 : 1 + frames], rtol=0, atol=1e-5)
    assert torch.equal(made.separate_with_salience(mixture)[1], salience)


def test_frames_of_the_salience_are_centred_on_multiples_of_the_hop():
    made = separator("shared-encoder")
    assert isinstance(made, PitchSeparator)
    assert made.salience_hop == 256
    own, all_frames = made.frame_times(20), made.network.frame_times(21)
    assert own[0] == 0
    assert_close(own, all_frames[1:])


def test_wirings_refuse_what_they_cannot_do():
    pitch_only, source_only = separator("pitch-only"), separator("source-only")
    pitch_only.prepare(CPU, "fp32")
    source_only.prepare(CPU, "fp32")
    assert pitch_only.salience(noise(1, 1, 1000)).shape == (1, 360, 4)
    with pytest.raises(ValueError, match="`pitch-only` gives no vocals"):
        pitch_only.separate(noise(1, 1, 1000))
    with pytest.raises(ValueError, match="`source-only` gives no pitch"):
        source_only.salience(noise(1, 1, 1000))
    for wiring in ("oracle-vocals", "oracle-pitch"):
        with pytest.raises(ValueError, match=f"`{wiring}` needs the true"):
            separator(wiring).prepare(CPU, "fp32")


@torch.no_grad()
def test_oracles_can_be_judged_through_the_differentiable_way():
    mixture, vocals = noise(1, 1, 3000), noise(1, 1, 3000, seed=1)
    told = separator("oracle-vocals").estimate(mixture, vocals=vocals)
    assert told.salience.shape == (1, 360, FRONT_END.stft.frames(3000))
    made = separator("oracle-pitch")
    estimate = made.estimate(mixture, salience=saliences(1, FRONT_END.stft.frames(3000)))
    assert made.waveform(mixture, estimate).shape == (1, 1, 1, 3000)


def test_new_weights_need_a_new_preparation_and_a_training_phase_does_not_hinder_it():
    made = separator("separately-trained").train()
    made.network.begin("pitch")
    made.prepare(CPU, "fp32")
    before = made.salience(noise(1, 1, 2000))
    assert torch.equal(before, made.salience(noise(1, 1, 2000)))
    assert made.network.phase == "pitch"
    made.load_state_dict(made.state_dict())
    with pytest.raises(RuntimeError, match="`prepare`"):
        made.salience(noise(1, 1, 2000))
