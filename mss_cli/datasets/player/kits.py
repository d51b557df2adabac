"""Drum kits: which piece of a kit a hit is, read from its label, and kits put together from a pack."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick
from mss_cli.datasets.player.pack import Item, Pack, Source

Piece = Literal["kick", "snare", "clap", "rim", "hat", "open", "crash", "ride", "tom", "shaker", "percussion"]
Kit = Mapping[Piece, tuple[Item, ...]]

# The first pattern that is found in the lower-case label, without the name of a machine before `/`, decides.
_PIECES: tuple[tuple[Piece, str], ...] = (
    ("clap", r"clap|^cp$"),
    ("rim", r"rim|side ?stick|^ss$|^stick"),
    ("kick", r"kick(?!ing|stand)|kdrum|^bd|^ks$|bass_(hard|soft)|bass ?drum"),
    ("open", r"hat.?open|open.?hat|hhopen|^oh$|^ho$|ohi?hat|-oh$|semiopen|swish|cymbal_open"),
    (
        "hat",
        r"hat.?clos|hhclos|closed.?hat|^hh$|^h[ct]$|chihat|hithat|^hat_|-ch$|shorthi|hat.?pedal|cymbal_closed|^hl$",
    ),
    ("shaker", r"shak|cabasa|maraca|^sh$|tamb|^tb$|sleigh|^[bf]w$"),
    ("snare", r"snare|^sd|^sn_|^s[ce]$|shortsn|-sd$"),
    ("ride", r"ride|^rd$"),
    ("crash", r"crash|^cr$|splash|china|cymb|^cym$"),
    ("tom", r"tom|^[ml]t$|^t[hml]$"),
)
_COMPILED = tuple((piece, re.compile(pattern)) for piece, pattern in _PIECES)
_LONGEST_SECONDS = 6.0


def piece_of(label: str, *, beside: frozenset[str] = frozenset()) -> Piece:
    """Read the piece from a label.

    Parameters
    ----------
    label : str
        Such as `ks`, `SnareRest` or `808-mini/hhclosed-1`.
    beside : frozenset of str
        All labels of the source: `ht` is a high tom where there is a middle tom `mt`, else a tight hat.
    """
    name = label.rsplit("/", 1)[-1].lower()
    if name == "ht" and "mt" in beside:
        return "tom"
    return next((piece for piece, pattern in _COMPILED if pattern.search(name)), "percussion")


def kits_of(source: Source) -> dict[str, Kit]:
    """Sort the hits of a source into kits: one for each name before `/` in the labels."""
    labels = frozenset(item.label for item in source.items)
    sorted_hits: dict[str, dict[Piece, list[Item]]] = {}
    for item in source.items:
        machine = item.label.rsplit("/", 1)[0] if "/" in item.label else ""
        pieces = sorted_hits.setdefault(machine, {})
        pieces.setdefault(piece_of(item.label, beside=labels), []).append(item)
    return {
        f"{source.name}/{machine}".rstrip("/"): {piece: tuple(items) for piece, items in pieces.items()}
        for machine, pieces in sorted_hits.items()
    }


def draw_kit(pack: Pack, random: Generator) -> tuple[str, Kit]:
    """Choose a kit: one that was recorded together, or one mixed from everything the pack has.

    Returns
    -------
    name : str
    kit : mapping of piece to hits
        Pieces the pack does not have are missing; of each piece, hits of one label are chosen.
    """
    hits = [source for source in pack.of_stem("drums") if source.kind == "hits"]
    kits = {name: kit for source in hits for name, kit in kits_of(source).items()}
    whole = sorted(
        name for name, kit in kits.items() if "kick" in kit and "hat" in kit and {"snare", "clap"} & set(kit)
    )
    everything: dict[Piece, list[tuple[Item, ...]]] = {}
    for name in sorted(kits):
        for piece, items in kits[name].items():
            everything.setdefault(piece, []).append(items)
    base = pick(random, whole) if whole and chance(random, 0.6) else ""
    kit: dict[Piece, tuple[Item, ...]] = {}
    for piece in sorted(everything):
        # A recorded kit keeps its own pieces; what it lacks, and hand percussion, comes from elsewhere.
        if base and piece in kits[base]:
            kit[piece] = _one_label(kits[base][piece], random)
        else:
            kit[piece] = _one_label(pick(random, everything[piece]), random)
    return base or "mixed", kit


def loops_of(pack: Pack) -> tuple[Item, ...]:
    """Give the drum loops of a pack."""
    return tuple(item for source in pack.of_stem("drums") if source.kind == "loops" for item in source.items)


def _one_label(items: Sequence[Item], random: Generator) -> tuple[Item, ...]:
    label = pick(random, [item.label for item in items])
    chosen = tuple(item for item in items if item.label == label and item.seconds < _LONGEST_SECONDS)
    return chosen or tuple(items[:1])
