import errno
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from mss_cli.errors import OutputError
from mss_cli.training.batches import Batch
from mss_cli.training.curves import Curves, read_curves
from mss_cli.training.hooks import StepReport
from mss_cli.training.watch import Watch


class Scripted:
    """An objective whose validations have these scores."""

    def __init__(self, scores):
        self.coming = iter(scores)

    def terms(self, network, batch, progress):
        raise NotImplementedError

    def total(self, terms):
        raise NotImplementedError

    def scores(self, network, batch):
        return {"vocals": (next(self.coming), 1.0)}


def watched(folder, scores):
    """Validate after every step; give the steps whose weights were kept as the best."""
    best = []

    def save(path, network, step, seconds, now):
        path.write_text("weights")
        if path.name == "best":
            best.append(step)

    batch = Batch(torch.zeros(1, 1, 1, 4), None, torch.zeros(1, dtype=torch.int64))
    watch = Watch(
        Scripted(scores), [batch], lambda step: Curves(folder / "curves.csv", step=step), save, best=folder / "best",
        last=folder / "last", steps=len(scores), validate_steps=1, audio_seconds=1.0, listener=lambda event: None,
    )  # fmt: skip
    for step in range(1, len(scores) + 1):
        watch.after_step(StepReport(step, {"total": 0.0}, 1e-3, 1.0, 0.0, 0), nn.Linear(1, 1))
    return best, watch


def test_the_best_weights_are_those_of_the_highest_score(tmp_path):
    best, watch = watched(tmp_path, [1.0, 3.0, 2.0, 3.5])
    assert best == [1, 2, 4]
    assert watch.state()["best"] == 3.5


def test_a_score_that_is_no_number_does_not_keep_later_ones_from_being_the_best(tmp_path):
    best, watch = watched(tmp_path, [math.nan, -2.0, math.nan, -1.0])
    assert best == [1, 2, 4]
    assert watch.state()["best"] == -1.0


def test_a_disk_that_is_full_when_a_run_is_resumed_leaves_its_curves(tmp_path, monkeypatch):
    path = tmp_path / "curves.csv"
    Curves(path, step=0).add(1, 1.0, "train", {"total": 0.5})
    before = path.read_bytes()

    def full(target, *arguments, **options):
        target.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OutputError, match="disk full"):
            Curves(path, step=1)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.csv"]
    assert [point.step for point in read_curves(path)] == [1]
