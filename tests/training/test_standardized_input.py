"""Open-Unmix measures what it will learn from before its first update."""

from pathlib import Path

import pytest
import torch
import yaml

from mss_cli.main import main
from mss_cli.training import data
from mss_cli.training.batches import collate
from mss_cli.training.data import augmenter, standardize, training_examples
from mss_cli.training.examples import Key
from mss_cli.training.network import first_network
from mss_cli.training.recipe_file import read_recipe
from mss_cli.weights.store import load_checkpoint
from mss_models.centered_stft import centered_stft
from mss_models.networks.open_unmix.network import bin_statistics
from training_songs import write_songs

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
name: tiny
source: our own, for tests
network:
  architecture: open-unmix
  settings: {stems: [vocals, rest], sample_rate: 8000, channels: 2, n_fft: 256, hop_length: 64, heard_bins: 80,
    hidden_size: 8, bidirectional: false, wiener_iterations: 0}
data:
  train: [{kind: folders, root: SONGS}]
  stems: {vocals: [vocals], rest: ["*"]}
  seconds: 0.3
  workers: 0
mixing: {coherent: 0}
augmentation:
  stem: [{step: gain}]
loss: [{term: magnitude-l2}]
optimizer: {name: rmsprop, learning_rate: 1e-9}
training: {steps: 2, batch: 2}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_MEASURED", 12)
    write_songs(tmp_path / "songs", 3)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("SONGS", str(tmp_path / "songs")))
    return path


def statistics(path, cache):
    """Over the same examples all at once."""
    recipe = read_recipe(path).recipe
    network = first_network(recipe)
    examples = training_examples(recipe, network, cache)
    batch = augmenter(recipe, network)(collate([examples[Key(0, place)] for place in range(12)]))
    magnitudes = centered_stft(batch.stems.sum(dim=1), network.transform).abs()
    return bin_statistics([magnitudes.mean(dim=1)])


def test_what_is_measured_are_the_first_examples(tmp_path, recipe):
    chosen = read_recipe(recipe).recipe
    network = first_network(chosen)
    standardize(chosen, network, tmp_path / "cache")
    mean, deviation = statistics(recipe, tmp_path / "cache")
    for member in network.members:
        torch.testing.assert_close(member.input_mean.detach(), -mean[:80], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(member.input_scale.detach(), 1 / deviation[:80], rtol=1e-3, atol=1e-5)


def test_a_training_begins_with_it_and_keeps_it(tmp_path, recipe):
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu", "-q"]) == 0
    trained, _ = load_checkpoint(tmp_path / "run" / "last.safetensors")
    mean, _ = statistics(recipe, tmp_path / "cache")
    for member in trained.members:
        torch.testing.assert_close(member.input_mean.detach(), -mean[:80], rtol=1e-3, atol=1e-4)


def test_the_recipe_for_real_time_follows_its_table():
    made = read_recipe(ROOT / "configs" / "train" / "openunmix-realtime.yaml").recipe
    chosen = made.optimizer
    assert (chosen.name, chosen.learning_rate, chosen.weight_decay) == ("rmsprop", 1e-3, 1e-5)
    assert (made.training.batch, made.training.steps) == (8, 50 * 688)
    assert yaml.safe_load((ROOT / "configs" / "train" / "openunmix-realtime.yaml").read_text())["name"] == made.name
