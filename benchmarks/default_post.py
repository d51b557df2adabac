"""What may follow the network, on played validation songs: consistency, overlap, shifts, Wiener filter; score and cost.

    python benchmarks/default_post.py [--model NAME_OR_PATH] [--songs 8] [--seconds 20] [--only WORDS]

Songs are played from the ``valid`` split of the pack; eval-v1 is never read. Each row changes one thing against the
first. Rows of other loudness tell whether the level should be normalised first. uSDR as means over the songs that have
the stem, through the stems as `separate` writes them: `other` takes what the others leave. CPU seconds are those of one
thread for the whole pass, without loading.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mss_cli.devices import prepare_process

prepare_process(threads=1)

import numpy as np
import torch

from default_measures import scores
from default_songs import PACK, RATE, Song, validation_songs
from default_systems import Estimates
from mss_cli.datasets.player.pack import STEMS
from mss_cli.separation.api import Model
from mss_cli.separation.settings import EngineSettings
from mss_cli.weights.manifest import DEFAULT, Entry, find
from mss_cli.weights.store import load_checkpoint, save_checkpoint
from mss_models.stft import StftSettings, istft, stft
from mss_models.wiener import wiener

ROOT = Path(__file__).resolve().parents[1]
_STFT = StftSettings(n_fft=4096, hop_length=1024)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table."""

    name: str
    consistency: str | None = None
    precision: str = "fp32"
    settings: EngineSettings = field(default_factory=EngineSettings)
    after: Callable[[Song, Estimates], Estimates] | None = None
    gain_db: float = 0.0


def refined(song: Song, estimates: Estimates, *, iterations: int) -> Estimates:
    """Take the magnitudes of the estimates and share out the mixture by the multichannel Wiener filter."""
    mixture = stft(torch.from_numpy(song.mixture)[None], _STFT)  # (1, channel, bin, frame)
    stacked = torch.from_numpy(np.stack([estimates[stem] for stem in STEMS]))
    magnitudes = stft(stacked, _STFT).abs()[None]  # (1, stem, channel, bin, frame)
    made = istft(wiener(mixture, magnitudes, iterations=iterations), _STFT, song.mixture.shape[-1])[0]
    return dict(zip(STEMS, made.numpy(), strict=True))


def variants() -> list[Variant]:
    plain = EngineSettings()
    rows = [Variant("as it is")]
    rows += [Variant(f"consistency {kind}", consistency=kind) for kind in ("none", "equal", "energy")]
    rows += [Variant(f"overlap {overlap}", settings=replace(plain, overlap=overlap)) for overlap in (0.1, 0.25, 0.5)]
    rows += [Variant(f"shifts {shifts}", settings=replace(plain, shifts=shifts)) for shifts in (1, 2)]
    rows.append(Variant("segments of 12 s", settings=replace(plain, segment_seconds=12.0)))
    rows.append(Variant("bf16", precision="bf16"))
    rows += [Variant(f"songs {gain:+} dB louder", gain_db=gain) for gain in (-20, -10, 10)]
    for iterations in (0, 1):
        rows.append(
            Variant(
                f"Wiener, {iterations} iterations",
                after=lambda song, made, iterations=iterations: refined(song, made, iterations=iterations),
            )
        )
    return rows


def changed(path: Path, consistency: str | None, folder: Path) -> Path:
    """Write the checkpoint with another consistency."""
    if consistency is None:
        return path
    separator, card = load_checkpoint(path)
    configuration = {**card.configuration, "consistency": consistency}
    made = folder / f"{consistency}.safetensors"
    save_checkpoint(made, separator.state_dict(), replace(card, configuration=configuration))  # type: ignore[attr-defined]
    return made


def row(variant: Variant, path: Path, songs: list[Song], folder: Path) -> str:
    checkpoint = changed(path, variant.consistency, folder)
    loaded = Model(str(checkpoint), device="cpu", precision=variant.precision, threads=1)
    found: dict[str, list[float]] = {stem: [] for stem in STEMS}
    spent = seconds = 0.0
    for song in songs:
        started = time.process_time()
        gain = np.float32(10 ** (variant.gain_db / 20))
        scaled = loaded.separate_array(gain * song.mixture, RATE, settings=variant.settings)
        estimates = {stem: signal / gain for stem, signal in scaled.items()}
        if variant.after is not None:
            estimates = variant.after(song, estimates)
        spent, seconds = spent + time.process_time() - started, seconds + song.mixture.shape[-1] / RATE
        for stem, (score, _) in scores(song, estimates).items():
            found[stem].append(score)
    cells = [float(np.mean(found[stem])) for stem in STEMS]
    return (
        f"| {variant.name} | {' | '.join(f'{c:.2f}' for c in cells)} | {np.mean(cells):.3f} | {spent / seconds:.4f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--songs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", nargs="*", default=[""], help="rows with one of these words in their names")
    parser.add_argument("--pack", type=Path, default=PACK)
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "default-scores")
    arguments = parser.parse_args()
    found = find(arguments.model)
    path = found.weights if isinstance(found, Entry) else Path(arguments.model)
    if path is None:
        raise SystemExit(f"error: `{arguments.model}` has no weights")
    songs = list(
        validation_songs(arguments.songs, arguments.seconds, pack=arguments.pack, cache=arguments.cache / "songs")
    )
    print(f"{len(songs)} songs of {arguments.seconds:g} s; uSDR, dB\n")
    print(f"| variant | {' | '.join(STEMS)} | mean | CPU s per s |\n{'|---' * (len(STEMS) + 3)}|")
    with tempfile.TemporaryDirectory() as folder:
        for variant in variants():
            if not any(word in variant.name for word in arguments.only):
                continue
            print(row(variant, path, songs, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
