"""Chapter 5's ten wirings in equal training time: RPA, OA and SDR on played songs and on real vocals.

``python benchmarks/joint_pitch.py train --pack DIR --work DIR --minutes 6`` measures what an update of each wiring
costs and trains it, with every seed, for as many updates as six minutes of one core pay (two runs at a time, one
thread each; a run that is complete is not repeated); ``score`` scores them and prints Markdown tables.

Played songs have sung notes only, whose pitch is known exactly; those of the score are new songs sung by the same
voices, for the ``valid`` part of the pack has no sung notes. Real vocals are those of ``eval-v1``; their pitch is what
Deep Salience hears in the isolated vocals (threshold 0.3, its authors' own), because nobody has written it down.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from equal_time import Arm, run_of, train_all
from mss_cli.datasets.player.pack import open_pack
from mss_cli.datasets.player.song import SongStyle, play_song
from mss_cli.weights.store import load_checkpoint
from mss_models.metrics.pitch import PitchTrack, melody_scores
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.salience import best_pitch, render_notes

Signal = NDArray[np.float32]
RATE, HOP = 22_050, 256
WIRINGS = (
    "pitch-only", "source-only", "oracle-vocals", "oracle-pitch", "shared-encoder", "cross-stitch", "source-to-pitch",
    "pitch-to-source", "source-pitch-source-pitch", "separately-trained",
)  # fmt: skip
SHARED = Path(__file__).resolve().parents[2] / "shared"
SCORE_SONGS, SCORE_SECONDS, SCORE_SEED = 16, 20.0, 900_000
# Of the pitch read off an estimate (thesis 5.2) and off Deep Salience.
THRESHOLD, TEACHER_THRESHOLD = 0.4, 0.3
# Half of the thesis's channels: in so short a time the smaller networks learn more.
BATCH, BASE_CHANNELS, LEARNING_RATE, SONGS = 4, 8, 1e-3, 600


@dataclass(frozen=True, slots=True)
class Judged:
    """A song to be scored: mixture and vocals of shape (sample,) at 22050 Hz, salience (360, frame), and its pitch."""

    name: str
    mixture: Signal
    vocals: Signal
    salience: torch.Tensor
    pitch: PitchTrack


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares of frames and SDR in dB; None for what a wiring does not give."""

    rpa: float | None
    oa: float | None
    sdr: float | None


def arms(pack: Path, work: Path) -> list[Arm]:
    return [Arm(wiring, f"thesis5-{wiring}", partial(changes, pack, work, wiring)) for wiring in WIRINGS]


def changes(pack: Path, work: Path, wiring: str, seed: int, updates: int) -> list[str]:
    notes = f"{{kind: notes, root: {pack}, split: train, vocals: sung-notes, songs: {SONGS}, seconds: 20}}"
    made = [
        f"data.train=[{notes}]", "data.valid=[]", f"data.cache={work / 'cache'}", "data.workers=0",
        f"network.settings.base_channels={BASE_CHANNELS}", f"training.batch={BATCH}", f"training.seed={seed}",
        f"training.steps={updates}", f"optimizer.learning_rate={LEARNING_RATE}", "optimizer.betas=[0.9, 0.999]",
        "training.ema=0.99", "mixing.coherent=0.5",
    ]  # fmt: skip
    return made if wiring == "source-only" else [*made, "teacher.kind=labels", "teacher.weights=null"]


def score(pack: Path, work: Path, seeds: list[int]) -> None:
    torch.set_num_threads(2)
    sets = {"played": played_songs(pack), "real": real_songs(work / "teacher")}
    results: list[dict[str, object]] = []
    for wiring in WIRINGS:
        for seed in seeds:
            path = run_of(work, wiring, seed) / "last.safetensors"
            if not path.exists():
                continue
            network, card = load_checkpoint(path)
            if not isinstance(network, VocalPitchSeparator):
                raise TypeError(path)
            network.eval()
            for name, songs in sets.items():
                mean = means([judge(network, song) for song in songs])
                results.append({"wiring": wiring, "seed": seed, "set": name, "steps": card.steps, **asdict(mean)})
                print(results[-1], flush=True)
    (work / "scores.json").write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results, seeds))


def played_songs(pack: Path) -> list[Judged]:
    samples, songs = open_pack(pack), []
    for number in range(SCORE_SONGS):
        style = SongStyle(vocals="sung-notes", harmonies=False)
        song = play_song(samples, seed=SCORE_SEED + number, seconds=SCORE_SECONDS, style=style)
        mixture, vocals = (mono(signal.T, 44_100) for signal in (song.stems.sum(axis=0), song.stems[0]))
        if not song.notes or not np.abs(vocals).max() > 0:
            continue
        times = frame_times(len(mixture))
        starts, ends, pitches = (
            torch.tensor([getattr(note, field) for note in song.notes]) for field in ("start", "end", "frequency")
        )
        salience = render_notes(starts, ends, pitches, times)
        frequencies, _ = best_pitch(salience[None], threshold=0.5)
        songs.append(Judged(f"played {number}", mixture, vocals, salience, track(times, frequencies[0])))
    return songs


def real_songs(kept: Path) -> list[Judged]:
    from mss_cli.pitch.teachers import DeepSalienceTeacher

    weights = SHARED / "checkpoints" / "deep-salience" / "vocal.safetensors"
    folder = SHARED / "data" / "eval-v1"
    if not weights.exists() or not folder.exists():
        return []
    teacher, songs = DeepSalienceTeacher(weights), []
    for song in sorted(path.parent for path in folder.glob("*/vocals.ogg")):
        mixture, vocals = (mono(*soundfile.read(song / name)) for name in ("mixture.flac", "vocals.ogg"))
        answer = kept / f"{song.name}.npy"
        if not answer.exists():
            kept.mkdir(exist_ok=True)
            np.save(answer, teacher(vocals))
        heard = torch.from_numpy(np.load(answer)).float()  # (bin, frame), frames at multiples of the hop
        times = frame_times(len(mixture))
        salience = at_times(heard, times)
        frequencies, _ = best_pitch(salience[None], threshold=TEACHER_THRESHOLD)
        songs.append(Judged(song.name, mixture, vocals, salience, track(times, frequencies[0])))
    return songs


def judge(network: VocalPitchSeparator, song: Judged) -> Scores:
    """Score one song; oracles are told the truth."""
    peak = float(np.abs(song.mixture).max())
    scale = 1 / peak if network.normalization == "peak" and peak > 0 else 1.0
    mixture, vocals = (torch.from_numpy(signal)[None, None] * scale for signal in (song.mixture, song.vocals))
    rpa = oa = sdr = None
    with torch.no_grad():
        estimate = network.estimate(mixture, vocals=vocals, salience=song.salience[None])
        if estimate.salience is not None:
            frequencies, _ = best_pitch(estimate.salience, threshold=THRESHOLD, guesses=True)
            found = melody_scores(song.pitch, track(frame_times(len(song.mixture)), frequencies[0]))
            rpa, oa = found.raw_pitch_accuracy, found.overall_accuracy
        if estimate.mask is not None:
            heard = network.waveform(mixture, estimate)[0, 0]
            sdr = float(10 * torch.log10(vocals[0].square().sum() / (vocals[0] - heard).square().sum()))
    return Scores(rpa, oa, sdr)


def means(scores: list[Scores]) -> Scores:
    def mean(name: str) -> float | None:
        values = [getattr(one, name) for one in scores if getattr(one, name) is not None]
        return float(np.mean(values)) if values else None

    return Scores(mean("rpa"), mean("oa"), mean("sdr"))


def tables(results: list[dict[str, object]], seeds: list[int]) -> str:
    lines = []
    for name in ("played", "real"):
        lines += [f"\n{name}\n", "| wiring | steps | OA % | RPA % | SDR dB |", "|---|---|---|---|---|"]
        for wiring in WIRINGS:
            rows = [row for row in results if (row["wiring"], row["set"]) == (wiring, name)]
            cells = [" / ".join(shown(row[key], 100) for row in rows) for key in ("oa", "rpa")]
            sdr = " / ".join(shown(row["sdr"], 1) for row in rows)
            steps = " / ".join(str(row["steps"]) for row in rows)
            lines.append(f"| {wiring} | {steps} | {cells[0]} | {cells[1]} | {sdr} |")
    return "\n".join([f"Seeds {', '.join(map(str, seeds))}, side by side.", *lines])


def shown(value: object, factor: float) -> str:
    return f"{value * factor:.2f}" if isinstance(value, float) else "-"


def mono(signal: NDArray[np.floating], rate: int) -> Signal:
    folded = signal.mean(axis=1) if signal.ndim == 2 else signal
    return soxr.resample(folded, rate, RATE).astype(np.float32)


def frame_times(samples: int) -> torch.Tensor:
    """Centres of the frames of a network at 22050 Hz, 1024 / 256; seconds."""
    frames = -(-samples // HOP) + 3
    return (torch.arange(frames, dtype=torch.float64) - 1) * HOP / RATE


def at_times(salience: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Frames at multiples of the hop from 0 on, put at other times of the same grid; silence outside."""
    places = torch.round(times * RATE / HOP).long()
    inside = (places >= 0) & (places < salience.shape[1])
    return torch.where(inside, salience[:, places.clamp(0, salience.shape[1] - 1)], 0.0)


def track(times: torch.Tensor, frequencies: torch.Tensor) -> PitchTrack:
    later = times >= 0
    return PitchTrack(times[later], frequencies[later].double())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--pack", type=Path, default=SHARED / "data" / "stems-v1")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.what == "train":
        made = arms(arguments.pack, arguments.work)
        train_all(made, arguments.work, minutes=arguments.minutes, seeds=arguments.seeds, jobs=arguments.jobs)
    else:
        score(arguments.pack, arguments.work, arguments.seeds)


if __name__ == "__main__":
    main()
