import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mss_cli.errors import UsageError, WeightsError
from mss_cli.main import main
from mss_cli.weights import store
from mss_cli.weights.manifest import ENTRIES, find
from mss_cli.weights.store import METADATA_KEY, Card, load, load_checkpoint, read_card, save_checkpoint
from mss_models.catalog import build, configuration_of
from signals import write_music

SETTINGS = {
    "stems": ["vocals", "drums"], "sample_rate": 8192, "channels": 1, "n_fft": 256, "hop_length": 128, "bins": 128,
    "head": "sigmoid", "segment_frames": 64, "levels": 2, "base_channels": 4, "dropout_layers": 0,
}  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    separator = build("unet", SETTINGS)
    made = configuration_of(separator)
    card = Card("tiny", made.architecture, made.settings, separator.stems, separator.sample_rate, "none", "MIT")
    save_checkpoint(tmp_path / "tiny.safetensors", separator.state_dict(), card)
    return tmp_path / "tiny.safetensors"


def rewrite(path, **changes):
    """Write a checkpoint anew with other metadata or weights."""
    card = json.loads(json.dumps(read_metadata(path))) | changes.get("card", {})
    state = load_file(path) | changes.get("state", {})
    save_file(state, path, metadata={METADATA_KEY: json.dumps(card)})


def read_metadata(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY])


def test_weights_and_card_come_back_as_they_went(checkpoint):
    separator, card = load(str(checkpoint))
    torch.manual_seed(0)
    expected = build("unet", SETTINGS).state_dict()
    assert card == read_card(checkpoint)
    assert card.stems == ("vocals", "drums")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in separator.state_dict().items())


def test_no_temporary_file_stays(checkpoint):
    assert [path.name for path in checkpoint.parent.iterdir()] == ["tiny.safetensors"]


def test_random_weights_say_so_loudly(checkpoint, tmp_path, capsys):
    song = write_music(tmp_path / "song.wav", seconds=0.3)
    assert main(["separate", str(song), "-m", str(checkpoint), "-o", str(tmp_path / "out")]) == 0
    assert "MODEL `tiny` HAS RANDOM WEIGHTS" in capsys.readouterr().err


def test_a_pickle_is_refused_and_runs_nothing(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    path = tmp_path / "trap.safetensors"
    path.write_bytes(pickle.dumps({"state": Trap()}))
    with pytest.raises(WeightsError, match="cannot load weights"):
        load_checkpoint(path)
    torch.save({"state": Trap()}, path)
    with pytest.raises(WeightsError, match="cannot load weights"):
        load_checkpoint(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"card": {"format_version": 99}}, "format version 99, this program reads 1"),
        ({"card": {"architecture": "unnet"}}, "unnet"),
        ({"card": {"stems": "vocals"}}, "entry is damaged"),
        ({"card": {"configuration": {"levels": 2, "colour": "red"}}}, "colour"),
        ({"state": {"extra": torch.zeros(1)}}, "extra"),
    ],
)
def test_a_card_or_state_that_does_not_fit_is_one_line(checkpoint, changes, line):
    rewrite(checkpoint, **changes)
    with pytest.raises(WeightsError, match=line) as caught:
        load_checkpoint(checkpoint)
    assert caught.value.path == str(checkpoint)


def test_weights_that_are_not_finite_are_refused(checkpoint):
    key, tensor = next(item for item in load_file(checkpoint).items() if item[1].is_floating_point())
    rewrite(checkpoint, state={key: torch.full_like(tensor, float("nan"))})
    with pytest.raises(WeightsError, match="NaN or infinite weights"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("size", [0, 7, 100, 2000])
def test_a_cut_checkpoint_is_refused(checkpoint, size):
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    with pytest.raises(WeightsError, match="cannot load weights"):
        load_checkpoint(checkpoint)


def test_a_safetensors_file_of_others_is_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="its header has no `mss_cli` entry"):
        read_card(tmp_path / "other.safetensors")


def test_bf16_needs_a_measured_and_small_error():
    card = Card("x", "unet", {}, ("vocals",), 44100, "some", "MIT")
    assert not card.allows_bf16
    from dataclasses import replace

    assert replace(card, bf16_error_db=-45.0, bf16_sdr_loss_db=0.01).allows_bf16
    assert not replace(card, bf16_error_db=-39.0, bf16_sdr_loss_db=0.01).allows_bf16
    assert not replace(card, bf16_error_db=-45.0, bf16_sdr_loss_db=0.03).allows_bf16


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_manifest_says_what_the_separator_is(entry):
    separator, _ = load(entry.name)
    assert separator.stems == entry.stems
    assert separator.sample_rate == entry.sample_rate


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(UsageError, match="did you mean `classical`\\? there are .*`classical`"):
        find("clasical")


def test_a_card_that_names_other_stems_than_the_network_is_refused(checkpoint):
    rewrite(checkpoint, card={"stems": ["vocals", "bass"]})
    with pytest.raises(WeightsError, match="names other stems or another rate"):
        load_checkpoint(checkpoint)


def test_a_card_with_words_for_numbers_is_refused(checkpoint):
    rewrite(checkpoint, card={"bf16_error_db": "loud"})
    with pytest.raises(WeightsError, match="bf16_error_db must be a number"):
        load_checkpoint(checkpoint)


def test_weights_that_are_replaced_while_they_are_read_are_refused(checkpoint, tmp_path, monkeypatch):
    """Files are mapped piece by piece: two trainings must not be mixed."""
    monkeypatch.setattr(store, "_MAPPED_BYTES", 1)
    load_checkpoint(checkpoint)  # a mapping for each tensor
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint.read_bytes())
    opened = []

    def replacing(path, **how):
        opened.append(path)
        if len(opened) == 4:
            other.replace(path)
        return safe_open(path, **how)

    monkeypatch.setattr("safetensors.safe_open", replacing)
    with pytest.raises(WeightsError, match="replaced while"):
        load_checkpoint(checkpoint)
    assert len(opened) > 4
