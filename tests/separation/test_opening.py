"""From a name to an engine: what cannot separate is refused with one line."""

import pytest

from mss_cli.errors import UsageError
from mss_cli.separation.opening import open_engine
from mss_cli.weights.store import Card, save_checkpoint
from mss_models.catalog import build, configuration_of
from mss_models.presets import shipped


def checkpoint(folder, wiring):
    preset = shipped(f"joint-{wiring}")
    separator = build(preset.architecture, {**preset.settings, "base_channels": 1})
    chosen = configuration_of(separator)
    card = Card(wiring, chosen.architecture, chosen.settings, separator.stems, separator.sample_rate, "none", "MIT")
    path = folder / f"{wiring}.safetensors"
    save_checkpoint(path, separator.state_dict(), card)
    return str(path)


@pytest.mark.parametrize(
    ("wiring", "reason"),
    [
        ("pitch-only", "gives no vocals"),
        ("oracle-vocals", "needs the true vocals"),
        ("oracle-pitch", "needs the true salience"),
    ],
)
def test_wirings_for_comparisons_are_refused_by_name(tmp_path, wiring, reason):
    path = checkpoint(tmp_path, wiring)
    with pytest.raises(UsageError, match=f"cannot separate: wiring `{wiring}` {reason}"):
        open_engine(path, device="cpu", threads=1)


def test_a_wiring_that_gives_vocals_opens(tmp_path):
    assert open_engine(checkpoint(tmp_path, "source-only"), device="cpu", threads=1).separator.stems == ("vocals",)
