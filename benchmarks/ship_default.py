"""Puts a trained checkpoint in its place as the default model.

    python benchmarks/ship_default.py RUN/best.safetensors [--pack DIR] [--name subband44]

Stores the weights as fp16 (norm statistics and other vectors stay fp32) in mss_cli/weights/files/NAME.safetensors, with
a card: architecture, training, scores on eval-v1 and on a generated mix, the measured cost of fp16 and bf16, and every
source of the training data with author, licence and address. Beside it NAME.NOTICE.txt, and docs/models/NAME.md for
people; docs/cli.md is written anew, for its help names the default. Refuses share-alike material, sources without
attribution, weights above 12 MB, and an fp16 that costs anything. Equal checkpoints give equal files.
``RUN/recipe.yaml`` tells seed and data.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.devices import prepare_process

prepare_process(threads=1)

import numpy as np
import torch
import yaml
from torch import Tensor

from default_attribution import Attribution, attributions_of, listing_hash, notice
from default_card import write_card
from default_measures import scores
from default_scores import Judged, judge, means
from default_songs import CONSTRUCTED, EXCERPT, PACK, REAL, Audio, Song, judged_songs, validation_songs
from default_systems import GAIN
from mss_cli.datasets.player.pack import STEMS
from mss_cli.separation.api import Model
from mss_cli.weights.manifest import FOLDER
from mss_cli.weights.store import Card, load_checkpoint, read_card, save_checkpoint

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from small_mix import small_mix

LICENCE = "CC-BY-4.0"
MAX_BYTES = 12_000_000
MAX_FP16_LOSS_DB = 0.01
SONGS, SECONDS = 6, 20.0
GENERATED = "generated"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a lower precision costs, over validation songs.

    Attributes
    ----------
    error_db : float
        Level of the difference against the estimate, of the stem where it is largest.
    loss_db : float
        Largest loss of uSDR of a stem, mean over songs; 0 if none loses.
    """

    error_db: float
    loss_db: float


def stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Halve what has two axes or more; scales, shifts and statistics of norms are small and stay."""
    return {
        key: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for key, tensor in state.items()
    }


def cost(first: Model, second: Model, songs: list[Song]) -> Cost:
    """Compare the estimates of two models of one kind."""
    names = first.engine.separator.stems
    differences, energies = np.zeros(len(names)), np.zeros(len(names))
    losses: list[list[float]] = [[] for _ in names]
    for song in songs:
        pair = [_estimates(loaded, song) for loaded in (first, second)]
        differences += np.square(pair[0] - pair[1], dtype=np.float64).sum(axis=(1, 2))
        energies += np.square(pair[0], dtype=np.float64).sum(axis=(1, 2))
        one, other = (scores(song, dict(zip(names, part, strict=True))) for part in pair)
        for place, stem in enumerate(names):
            if stem in one:
                losses[place].append(one[stem][0] - other[stem][0])
    loss = max(float(np.mean(row)) for row in losses if row)
    return Cost(round(float(10 * np.log10((differences / energies).max() + 1e-20)), 1), round(max(loss, 0.0), 4))


def _estimates(loaded: Model, song: Song) -> Audio:
    """Estimates of the network itself, (stem, channel, sample)."""
    network = loaded.engine.separator
    mixture = torch.from_numpy(song.mixture)[None]
    made: Audio = network.separate(mixture)[0].numpy()
    return made


def generated_song() -> Song:
    stems = small_mix()
    return Song(GENERATED, GENERATED, stems.sum(axis=0), dict(zip(STEMS, stems, strict=True)))


def opened(path: Path, precision: str) -> Model:
    return Model(str(path), device="cpu", precision=precision, threads=1)


@dataclass(frozen=True, slots=True)
class Trained:
    """What the recipe of a run says of it."""

    seed: int
    split: str

    @classmethod
    def read(cls, recipe: Path) -> "Trained":
        if not recipe.is_file():
            raise SystemExit(f"error: {recipe}: not there; it tells seed and data of the training")
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        sources = content["data"]["train"]
        if any(source["kind"] != "notes" or source.get("share_alike", False) for source in sources):
            raise SystemExit("error: only note packs without share-alike material may be shipped under these licences")
        splits = {source.get("split", "train") for source in sources}
        if len(splits) != 1:
            raise SystemExit(f"error: trained on several splits: {', '.join(sorted(splits))}")
        return cls(int(content["training"].get("seed", 0)), splits.pop())


def described(card: Card, name: str, trained: Trained, sources: list[Attribution], data_hash: str) -> Card:
    words = card.training.split(" (")[0]
    minutes = f"{card.minutes:.0f} minutes" if card.minutes else "time not known"
    return replace(
        card,
        name=name,
        training=f"{words}: {card.steps} steps, {minutes}; songs played from stems-v1, split {trained.split}",
        licence=LICENCE,
        data=tuple(source.line for source in sources),
        seed=trained.seed,
        data_hash=data_hash,
        scores={f"validation {stem}": round(score, 2) for stem, score in card.scores.items()},
    )


def ship(
    checkpoint: Path,
    *,
    pack: Path,
    name: str,
    folder: Path,
    documents: Path,
    cache: Path,
    consistency: str | None = None,
) -> Path:
    trained = Trained.read(checkpoint.parent / "recipe.yaml")
    sources = attributions_of(pack, trained.split)
    card = described(read_card(checkpoint), name, trained, sources, listing_hash(pack))
    if consistency is not None:
        card = replace(card, configuration={**card.configuration, "consistency": consistency})
    separator, _ = load_checkpoint(checkpoint)
    state = stored({key: value.detach() for key, value in separator.state_dict().items()})  # type: ignore[attr-defined]
    folder.mkdir(parents=True, exist_ok=True)
    songs = list(validation_songs(SONGS, SECONDS, pack=pack, cache=cache / "songs"))
    with tempfile.TemporaryDirectory() as scratch:
        trial = Path(scratch) / f"{name}.safetensors"
        save_checkpoint(trial, state, card)
        if trial.stat().st_size > MAX_BYTES:
            raise SystemExit(f"error: {trial.stat().st_size} bytes; at most {MAX_BYTES}")
        exact = opened(trial, "fp32")
        whole = Path(scratch) / "whole.safetensors"
        save_checkpoint(whole, separator.state_dict(), card)  # type: ignore[attr-defined]
        halved = cost(opened(whole, "fp32"), exact, songs)
        print(f"fp16 storage: difference {halved.error_db} dB, loss {halved.loss_db} dB")
        if halved.loss_db > MAX_FP16_LOSS_DB:
            raise SystemExit("error: fp16 storage costs too much")
        fast = cost(exact, opened(trial, "bf16"), songs)
        print(f"bf16: difference {fast.error_db} dB, loss {fast.loss_db} dB")
        judged = judge(exact, [*judged_songs(), generated_song()], cache)
    card = replace(
        card,
        bf16_error_db=fast.error_db,
        bf16_sdr_loss_db=fast.loss_db,
        scores={**card.scores, **means(judged), **_generated(judged)},
    )
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, state, card)
    path.chmod(0o644)
    (folder / f"{name}.NOTICE.txt").write_text(notice(name, LICENCE, sources), encoding="utf-8")
    documents.mkdir(parents=True, exist_ok=True)
    print(readme_rows(judged))
    write_card(documents / f"{name}.md", path, card, sources, judged, halved_db=halved.error_db)
    return path


def readme_rows(judged: Judged) -> str:
    """Rows of the table of the README: uSDR and, in brackets, that of the mixture times the best gain."""
    lines = []
    for group, title in (
        (EXCERPT, "excerpt of `make demo`"),
        (REAL, "4 recorded songs"),
        (CONSTRUCTED, "6 constructed songs"),
    ):
        sheet = judged.sheet
        cells = [f"{sheet.mean(judged.name, group, s):.1f} ({sheet.mean(GAIN, group, s):.1f})" for s in STEMS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _generated(judged: Judged) -> dict[str, float]:
    row = judged.sheet.rows[judged.name][GENERATED]
    return {f"{GENERATED} {stem}": round(score, 2) for stem, (score, _) in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pack", type=Path, default=PACK)
    parser.add_argument("--name", default="subband44")
    parser.add_argument("--consistency", choices=("none", "equal", "energy"), help="instead of the recipe's")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the weights")
    parser.add_argument("--documents", type=Path, default=ROOT / "docs" / "models")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "default-scores")
    arguments = parser.parse_args()
    path = ship(
        arguments.checkpoint,
        pack=arguments.pack,
        name=arguments.name,
        folder=arguments.folder,
        documents=arguments.documents,
        cache=arguments.cache,
        consistency=arguments.consistency,
    )
    card = read_card(path)
    if arguments.folder == FOLDER:  # the help names the default
        with (ROOT / "docs" / "cli.md").open("w", encoding="utf-8") as page:
            subprocess.run([sys.executable, ROOT / "docs" / "make_cli.py"], check=True, stdout=page)
    real = [card.scores[f"{REAL} {stem}"] for stem in STEMS if f"{REAL} {stem}" in card.scores]
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {len(card.data)} sources")
    if real:
        print(f"mean uSDR, real songs: {np.mean(real):.2f} dB")


if __name__ == "__main__":
    main()
