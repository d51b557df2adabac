"""The weights in the package: they score what their card says, name everybody they owe, and need nothing else."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mss_cli.datasets.player.pack import open_pack, refusal_reason
from mss_cli.devices import prepare_process
from mss_cli.main import main
from mss_cli.separation.api import Model
from mss_cli.weights.manifest import DEFAULT, ENTRIES, FOLDER
from mss_cli.weights.store import load_checkpoint, read_card
from mss_models.metrics.sdr import usdr
from mss_models.networks.subband_separator import multiply_accumulates
from small_mix import RATE, STEMS, small_mix

NAME = "subband44"
WEIGHTS = FOLDER / f"{NAME}.safetensors"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MAX_BYTES, MAX_GMAC = 12_000_000, 3.0

shipped = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no default weights yet")


@pytest.fixture(scope="module")
def card():
    return read_card(WEIGHTS)


@pytest.fixture(scope="module")
def network():
    separator, _ = load_checkpoint(WEIGHTS)
    separator.prepare(torch.device("cpu"), "fp32")
    return separator


def separated(stems, precision="fp32"):
    prepare_process(1)
    model = Model(NAME, device="cpu", precision=precision, threads=1)
    made = model.separate_array(stems.sum(axis=0), RATE)
    return np.stack([made[stem] for stem in STEMS])


@shipped
def test_the_network_is_the_default_and_classical_stays_to_be_chosen():
    assert DEFAULT == NAME
    assert [entry.name for entry in ENTRIES] == [NAME, "classical"]


@shipped
def test_the_weights_score_what_the_card_says_on_a_generated_mix(card):
    stems = small_mix()
    scores = usdr(torch.from_numpy(stems), torch.from_numpy(separated(stems))).tolist()
    assert scores == pytest.approx([card.scores[f"generated {stem}"] for stem in STEMS], abs=0.05)


@shipped
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "constructed"])
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_the_weights_score_what_the_card_says_on_eval_v1(card, kind):
    with (SHARED / "eval-v1" / "songs.csv").open(newline="", encoding="utf-8") as rows:
        names = [row["name"] for row in csv.DictReader(rows) if row["kind"] == kind]
    prepare_process(1)
    model = Model(NAME, device="cpu", precision="fp32", threads=1)
    found = {stem: [] for stem in STEMS}
    for name in names:
        mixture = soundfile.read(SHARED / "eval-v1" / name / "mixture.flac", dtype="float32")[0].T
        made = model.separate_array(np.ascontiguousarray(mixture), RATE)
        for stem in STEMS:
            path = SHARED / "eval-v1" / name / f"{stem}.ogg"
            if path.exists():
                true = torch.from_numpy(np.ascontiguousarray(soundfile.read(path, dtype="float32")[0].T))
                samples = min(true.shape[1], mixture.shape[1])
                estimate = torch.from_numpy(made[stem])
                found[stem].append(float(usdr(true[None, :, :samples], estimate[None, :, :samples])))
    assert {stem: np.mean(row) for stem, row in found.items()} == pytest.approx(
        {stem: card.scores[f"{kind} {stem}"] for stem in STEMS}, abs=0.05
    )


@shipped
def test_the_file_and_the_network_stay_within_their_limits(card, network):
    assert WEIGHTS.stat().st_size <= MAX_BYTES
    assert multiply_accumulates(network.settings) <= MAX_GMAC * 1e9
    assert (card.name, card.sample_rate, card.stems) == (NAME, RATE, STEMS)


@shipped
def test_bf16_is_allowed_by_a_measured_error_that_is_true_here_too(card):
    assert card.allows_bf16
    stems = small_mix()
    exact, fast = separated(stems), separated(stems, "bf16")
    error = 10 * np.log10(np.square(fast - exact).sum(axis=(1, 2)) / np.square(exact).sum(axis=(1, 2)))
    assert error.max() < -30


@shipped
def test_the_card_says_what_was_done_with_what(card):
    assert card.steps > 0
    assert card.minutes > 0
    assert isinstance(card.seed, int)
    assert re.fullmatch("[0-9a-f]{64}", card.data_hash)
    assert card.licence == "CC-BY-4.0"
    assert not card.is_random


@shipped
def test_every_source_is_named_with_author_address_and_a_licence_that_is_not_share_alike(card):
    notice = (FOLDER / f"{NAME}.NOTICE.txt").read_text(encoding="utf-8")
    for line in card.data:
        used, author, *rest = re.split(r": |; ", line)
        address = re.search(r"https://github\.com/\S+/tree/[0-9a-f]{12}", line)
        licences = re.search(r"; licence ([^(;]+)", line)[1].strip()
        assert author
        assert rest
        assert all(refusal_reason(licence, share_alike=False) is None for licence in licences.split(", "))
        assert address[0] in notice
        assert author in notice
        assert all(name in notice for name in used.split(", "))


@shipped
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_the_card_names_all_that_the_song_player_takes_and_nothing_else(card):
    pack = open_pack(SHARED / "stems-v1", split="train")
    named = {name for line in card.data for name in line.split(": ")[0].split(", ")}
    assert named == {f"{source.stem}/{source.name}" for source in pack.sources}
    assert {("vocals", "pjs"), ("other", "kalimba_bjdn")} <= {(one.stem, one.name) for one in pack.refused}


@shipped
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("samples", [1, 1000, 44100])
def test_silence_gives_silence(network, precision, samples):
    network.prepare(torch.device("cpu"), precision)
    assert not network.separate(torch.zeros(1, 2, samples)).any()


@shipped
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("level", [1e-30, 1e-8, 1.0, 1e4])
def test_nothing_makes_it_lose_its_numbers(network, precision, level):
    network.prepare(torch.device("cpu"), precision)
    noise = torch.randn(1, 2, 30_000, generator=torch.Generator().manual_seed(0))
    for mixture in (noise, torch.ones_like(noise), noise.sign(), noise * (noise > 3)):
        estimates = network.separate(level * mixture)
        assert estimates.isfinite().all()
        assert estimates.abs().max() <= 100 * level * mixture.abs().max()


@shipped
def test_a_song_is_separated_by_default_without_a_network_or_a_home(tmp_path, monkeypatch, capsys):
    for name in ("HOME", "XDG_CACHE_HOME", "MSS_CLI_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    song = tmp_path / "song.wav"
    soundfile.write(song, small_mix().sum(axis=0).T[: 2 * RATE] * 0.5, RATE)
    command = ["separate", str(song), "-o", str(tmp_path / "out"), "--device", "cpu", "--json"]
    assert main(command) == 0  # sockets are forbidden
    assert len(list((tmp_path / "out" / "song").glob("*.wav"))) == len(STEMS)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["model"] for event in events if event["event"] == "weights_ready"] == [NAME]
