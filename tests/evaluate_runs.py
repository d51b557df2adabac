"""Runs of `mss-cli evaluate` in this process, and what they leave."""

import json

from made_songs import STEMS, stems, write
from mss_cli.main import main


def evaluate(root, output, *flags, scores="sdr", dataset="folders"):
    arguments = ["evaluate", "--dataset", dataset, "--root", str(root), "-o", str(output), "--scores", scores]
    return main([*arguments, "--published", "none", *flags])


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def results(output):
    return json.loads((output / "results.json").read_text())


def write_estimates(songs, folder, gain=0.9):
    for song in sorted(path for path in songs.iterdir() if path.is_dir()):
        for stem in STEMS:
            made = stems(("one", "two", "three").index(song.name), 2.1)[stem]
            write(folder / "test" / song.name / f"{stem}.wav", gain * made, subtype="FLOAT")
    return folder
