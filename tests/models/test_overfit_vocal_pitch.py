"""The joint network learns the vocals of a song and their pitch by heart, and those of no other song."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mss_models.metrics.pitch import PitchTrack, melody_scores
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.vocal_pitch_losses import vocal_pitch_losses
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.networks.vocal_pitch_unet import VocalPitchSettings
from mss_models.salience import best_pitch, render
from mss_models.stft import StftSettings
from overfitting import capped_magnitude_bound, overfit, sdr_db
from sung_song import SungSong, sung_song

FRONT_END = FrontEnd(22_050, 1, StftSettings(1024, 256), 512, "peak", "window-energy")


@dataclass(frozen=True, slots=True)
class Learned:
    vocals: Tensor
    pitch: PitchTrack


def learned(song: SungSong, *, steps: int) -> Learned:
    """Source -> Pitch, a quarter of its width, trained with the joint loss (5.4) and without dropout."""
    torch.manual_seed(0)
    made = VocalPitchSeparator(VocalPitchSettings("source-to-pitch", FRONT_END, 512, base_channels=4, dropout_layers=0))
    network = made.network
    mixture, vocals = network.magnitude(song.mixture), network.magnitude(song.vocals)
    salience = render(song.pitch_at(network.frame_times(mixture.shape[-1]))[None].float())

    def loss() -> Tensor:
        return vocal_pitch_losses(vocals, salience, network(mixture)).total()

    overfit(made, loss, steps=steps, learning_rate=5e-3)
    made.prepare(torch.device("cpu"), "fp32")
    estimate, found = made.separate_with_salience(song.mixture)
    pitch, _ = best_pitch(found, guesses=True)
    return Learned(estimate[:, 0], PitchTrack(made.frame_times(pitch.shape[-1]), pitch[0].double()))


def accuracy(song: SungSong, pitch: PitchTrack) -> float:
    truth = PitchTrack(pitch.times, song.pitch_at(pitch.times))
    return melody_scores(truth, pitch).raw_pitch_accuracy


@pytest.mark.parametrize(
    ("steps", "below_bound_db", "right"),
    [pytest.param(160, 11.0, 0.7, id="quick"), pytest.param(750, 1.0, 0.95, id="whole", marks=pytest.mark.slow)],
)
def test_the_joint_network_comes_near_the_bound_of_its_masks_and_names_the_pitch(steps, below_bound_db, right):
    song, other = sung_song(), sung_song(seed=1)
    result = learned(song, steps=steps)
    mark = capped_magnitude_bound(song.mixture, song.vocals, FRONT_END.stft) - below_bound_db
    assert sdr_db(song.vocals, result.vocals) > mark
    assert accuracy(song, result.pitch) >= right
    assert sdr_db(other.vocals, result.vocals) < 0 < mark
    assert accuracy(other, result.pitch) < 0.3 < right
