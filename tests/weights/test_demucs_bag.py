"""Files that name several networks of Demucs, as its package has them for local models."""

import shutil
from pathlib import Path

import pytest
import torch

from mss_cli.errors import WeightsError
from mss_cli.main import main
from mss_cli.weights.choice import load_choice
from mss_cli.weights.families.demucs_bag import read_bag_file
from signals import write_music

FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
needs_formula = pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")
WEIGHTS = "[[1, 0, 0, 3], [0, 1, 1, 1]]"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))


def bag(folder, text):
    folder.mkdir(exist_ok=True)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def networks(tmp_path):
    folder = tmp_path / "bags"
    folder.mkdir()
    for name in ("one", "two-00000000"):
        shutil.copy(FORMULA / "tiny_htdemucs-6b8b92b3.th", folder / f"{name}.th")
    return folder


@needs_formula
def test_networks_weights_and_segment_are_what_the_file_says(networks):
    path = bag(networks, f"models: [one, two]\nweights: {WEIGHTS}\nsegment: 3\n")
    separator, card = load_choice(str(path))
    assert (card.name, card.architecture, len(card.data)) == ("mine", "bag", 2)
    assert separator.segment_samples == 3 * 44100
    assert [dict(weights) for weights in separator.weights] == [
        {"drums": 1, "bass": 0, "other": 0, "vocals": 3},
        {"drums": 0, "bass": 1, "other": 1, "vocals": 1},
    ]


@needs_formula
def test_equal_networks_give_together_what_each_gives_alone(networks):
    mixture = torch.randn(1, 2, 44100, generator=torch.Generator().manual_seed(0))
    made = []
    for source in (bag(networks, f"models: [one, two]\nweights: {WEIGHTS}\n"), networks / "one.th"):
        separator, _ = load_choice(str(source))
        separator.prepare(torch.device("cpu"), "fp32")
        made.append(separator.separate(mixture))
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-5 * float(made[1].abs().max()))


@needs_formula
def test_other_weights_make_another_checkpoint(networks):
    first, _ = load_choice(str(bag(networks, f"models: [one, two]\nweights: {WEIGHTS}\n")))
    second, _ = load_choice(str(bag(networks, "models: [one, two]\n")))
    assert first.weights != second.weights
    assert second.weights[0] == dict.fromkeys(second.stems, 1.0)


@needs_formula
def test_separate_takes_it(tmp_path, networks):
    song = write_music(tmp_path / "song.wav", seconds=1.0)
    path = bag(networks, f"models: [one, two]\nweights: {WEIGHTS}\n")
    assert (
        main(["separate", str(song), "-o", str(tmp_path / "out"), "--model", str(path), "--device", "cpu", "-q"]) == 0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [", "cannot be read as YAML"),
        ("- one\n", "names no `models`"),
        ("models: []\n", "names no `models`"),
        ("models: [one]\nwieghts: []\n", "has the unknown key `wieghts`"),
        ("models: [three]\n", "network `three` is not beside it"),
        ("models: [one]\nweights: [[1], [2]]\n", "its `weights` are not 1 rows of numbers"),
        ("models: [one]\nweights: [[.nan]]\n", "its `weights` are not 1 rows of numbers"),
        ("models: [one]\nsegment: -1\n", "its `segment` is no length"),
        ("models: !!python/object/apply:os.system [exit]\n", "cannot be read as YAML"),
    ],
)
def test_faulty_files_are_refused(tmp_path, text, message):
    path = bag(tmp_path, text)
    (tmp_path / "one.th").touch()
    with pytest.raises(WeightsError, match=message):
        read_bag_file(path)


@needs_formula
def test_rows_that_do_not_fit_the_stems_are_refused(networks):
    with pytest.raises(WeightsError, match="a row of weights has not one for each of drums, bass, other, vocals"):
        load_choice(str(bag(networks, "models: [one, two]\nweights: [[1, 0], [0, 1]]\n")))
