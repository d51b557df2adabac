"""Chooses the embedded default model: designs, songs and augmentations in equal short training time.

``python benchmarks/choose_default.py train --pack DIR --work DIR`` trains every arm for as many updates as eight
minutes of one core pay (see `equal_time`), then the best two designs again with a second seed; ``table`` prints what
came of it: the validation score (mean SDR over the stems that sound, songs played from the pack's ``valid`` part, the
same for all) and what a design costs. Songs to be judged on are not looked at.
"""

import argparse
from functools import partial
from pathlib import Path

from equal_time import Arm, run_of, train_all, updates_in
from mss_cli.weights.store import Card, read_card
from mss_models.catalog import build
from mss_models.networks.subband_separator import SubbandSeparator, multiply_accumulates

SHARED = Path(__file__).resolve().parents[2] / "shared"
SONGS, SECONDS, VALID_SONGS, VALID_EXAMPLES = 240, 30, 24, 96
SETTINGS = "network.settings."
HEAVY = (
    "augmentation.stem=[{step: gain}, {step: equaliser, probability: 0.7}, {step: channel-swap}, {step: polarity}, "
    "{step: compression, probability: 0.3}, {step: reverb, probability: 0.2}, {step: tremolo, probability: 0.1}, "
    "{step: chorus, probability: 0.1}]"
)


def design(
    *channels: int, hop: int = 1024, head: str = "shares", context: str = "gru", level: str = "absolute"
) -> tuple[str, ...]:
    """Settings of the network, all that differ between designs; channels from the finest scale on."""
    named = {"channels_by_scale": list(channels), "hop_length": hop, "head": head, "context": context, "level": level}
    return tuple(f"{SETTINGS}{name}={value}" for name, value in named.items())


DESIGNS: dict[str, tuple[str, ...]] = {
    "trial": design(48, 96, 144),
    "thin": design(32, 64, 96),
    "wide": design(56, 120, 184),
    "no-context": design(48, 96, 144, context="none"),
    "masks": design(48, 96, 144, head="mask"),
    "thin-even": design(32, 64, 96, level="segment"),
    "tapered-even": design(32, 80, 160, level="segment"),
    "long-hop": design(72, 128, 184, hop=2048),
    "long-even": design(48, 96, 144, hop=2048, level="segment"),
}
# What the songs and the examples are made like, with the network of "trial", which has the middle setting of both.
SONG_ARMS: dict[str, tuple[str, ...]] = {
    "random-only": ("mixing.coherent=0",),
    "coherent-only": ("mixing.coherent=1",),
    "no-augmentation": ("augmentation.stem=[]", "augmentation.track=[]"),
    "heavy-augmentation": (HEAVY,),
}


def songs(pack: Path, *, share_alike: bool = False) -> str:
    allowed = str(share_alike).lower()
    source = f"{{kind: notes, root: {pack}, split: train, songs: {SONGS}, seconds: {SECONDS}, share_alike: {allowed}}}"
    return f"data.train=[{source}]"


def arms(pack: Path, work: Path) -> list[Arm]:
    chosen = {**DESIGNS, **{name: (*DESIGNS["trial"], *extra) for name, extra in SONG_ARMS.items()}}
    # Whether the voices under a share-alike licence are worth a model of their own; beside "thin-even".
    chosen["share-alike"] = (*DESIGNS["thin-even"], songs(pack, share_alike=True))
    return [Arm(name, "subband44", partial(changes, pack, work, extra)) for name, extra in chosen.items()]


def changes(pack: Path, work: Path, extra: tuple[str, ...], seed: int, updates: int) -> list[str]:
    valid = f"{{kind: notes, root: {pack}, split: valid, songs: {VALID_SONGS}, seconds: {SECONDS}}}"
    return [
        songs(pack), f"data.valid=[{valid}]", f"data.valid_examples={VALID_EXAMPLES}",
        f"data.cache={work / 'cache'}", "data.workers=0", f"training.seed={seed}", f"training.steps={updates}",
        "training.validate_steps=1000000", "training.ema=0.995", "optimizer.schedule=cosine",
        "optimizer.warmup_steps=50", "augmentation.track=[{step: stem-dropout, probability: 0.08}]",
        "augmentation.stem=[{step: gain}, {step: equaliser, probability: 0.5}, {step: channel-swap}, {step: polarity}]",
        "network.settings.segment_frames=256", *extra,
    ]  # fmt: skip


def train(pack: Path, work: Path, minutes: float, jobs: int) -> None:
    made = arms(pack, work)
    train_all(made, work, minutes=minutes, seeds=[0], jobs=jobs)
    best = sorted(DESIGNS, key=lambda name: mean_score(work, name, 0), reverse=True)[:2]
    again = [arm for arm in made if arm.name in best]
    train_all(again, work, minutes=minutes, seeds=[1], jobs=jobs)


def card_of(work: Path, name: str, seed: int) -> Card | None:
    path = run_of(work, name, seed) / "last.safetensors"
    return read_card(path) if path.exists() else None


def mean_score(work: Path, name: str, seed: int) -> float:
    card = card_of(work, name, seed)
    return sum(card.scores.values()) / len(card.scores) if card is not None and card.scores else float("-inf")


def table(pack: Path, work: Path, minutes: float) -> str:
    budget = updates_in(arms(pack, work), work, minutes)
    stems = ("vocals", "drums", "bass", "other")
    lines = ["| arm | seed | updates | GMAC/s | mean SDR | " + " | ".join(stems) + " | SDR per GMAC |"]
    lines.append("|---" * (len(stems) + 6) + "|")
    for name, updates in budget.items():
        for seed in (0, 1):
            card = card_of(work, name, seed)
            if card is None or not card.scores:
                continue
            separator = build(card.architecture, card.configuration)
            if not isinstance(separator, SubbandSeparator):
                raise TypeError(name)
            cost = multiply_accumulates(separator.settings) / 1e9
            mean = mean_score(work, name, seed)
            cells = " | ".join(f"{card.scores[stem]:.2f}" for stem in stems)
            lines.append(f"| {name} | {seed} | {updates} | {cost:.2f} | {mean:.2f} | {cells} | {mean / cost:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "table"))
    parser.add_argument("--pack", type=Path, default=SHARED / "data" / "stems-v1")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.what == "train":
        train(arguments.pack, arguments.work, arguments.minutes, arguments.jobs)
    else:
        print(table(arguments.pack, arguments.work, arguments.minutes))


if __name__ == "__main__":
    main()
