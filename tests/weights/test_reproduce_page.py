"""The commands of docs/reproduce.md are commands, and their expectations those that are shipped."""

import re
import shlex
from pathlib import Path

import pytest

from mss_cli.evaluation.published import find_published
from mss_cli.main import main
from mss_cli.weights.published import manifest

PAGE = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| ([\w-]+) \| ([\d., ]+) \| `(mss-cli .*)` \|$", PAGE, flags=re.MULTILINE)


def test_every_row_that_the_page_promises_is_there():
    assert [row[0] for row in ROWS] == [
        *("umx", "umxhq", "umxl", "xumx", "htdemucs", "htdemucs_ft", "hdemucs_mmi", "repro_mdx_a", "demucs_v2")
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_expects_what_is_shipped(row):
    name, dataset, expected, command = row
    words = shlex.split(command)
    system = find_published(words[words.index("--against") + 1])
    scores = [system.score(stem, "SDR") for stem in ("vocals", "drums", "bass", "other")]
    assert scores == [float(value) for value in expected.split(",")]
    assert words[words.index("--model") + 1] == name
    assert words[words.index("--dataset") + 1] == dataset.lower().replace("-", "")
    assert system.dataset == words[words.index("--dataset") + 1]
    assert manifest().models[name].score.against == system.name
    assert words[words.index("--tolerance") + 1] == "0.1"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_command_of_the_page_is_understood_up_to_the_missing_data(row, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(row[3])[1:]) == 8
    assert "MUSDB18" in capsys.readouterr().err


def test_the_first_command_names_every_model_of_the_table():
    first = re.search(r"```sh\nmss-cli download-weights (.*) --accept-licence\n```", PAGE)
    assert first is not None
    assert first[1].split() == [row[0] for row in ROWS]
