"""Who made what a model was trained on: read from the pack's index and from the table of its attributions."""

import csv
import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mss_cli.datasets.player.pack import STEMS, refusal_reason

_ROW = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?: \([^)]*\))? \((?P<commit>[0-9a-f]{7,40})\)")
_CREATIVE_COMMONS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
}


@dataclass(frozen=True, slots=True)
class Attribution:
    """One origin of training data.

    Attributes
    ----------
    sources : tuple of str
        ``stem/source`` as in the index.
    author, licence, address : str
        The licence as the index has it, several joined; the address is that of the repository at the commit used.
    stated : str
        The licence as the table of attributions has it, with its conditions.
    changed : str
        What was done to the audio before it was learned from.
    """

    sources: tuple[str, ...]
    author: str
    licence: str
    address: str
    stated: str
    changed: str

    @property
    def line(self) -> str:
        """All of it in one line, for the card inside the weights."""
        links = [_CREATIVE_COMMONS[name] for name in self.licence.split(", ") if name in _CREATIVE_COMMONS]
        licence = f"{self.licence} ({' '.join(links)})" if links else self.licence
        if self.stated.removeprefix("**SA** ") not in self.licence:
            licence += f"; as stated: {self.stated}"
        return f"{', '.join(self.sources)}: {self.author}; {self.address}; licence {licence}; changed: {self.changed}"


def admitted(pack: Path, split: str) -> dict[str, str]:
    """Give ``stem/source`` -> licence of what the song player takes from a split; share-alike sources are not in it."""
    with (pack / "index.csv").open(newline="", encoding="utf-8") as rows:
        return {
            f"{row['class']}/{row['source']}": row["licence"]
            for row in csv.DictReader(rows)
            if row["split"] == split
            and row["class"] in STEMS
            and refusal_reason(row["licence"], share_alike=False) is None
        }


def attributions_of(pack: Path, split: str) -> list[Attribution]:
    """Find author, licence and address of every source of a split; stop if one has none.

    The table is ``ATTRIBUTION.md`` in the pack or beside it; its columns are repository (commit), author, licence,
    stated in, used for, changed.
    """
    table = next((path for path in (pack / "ATTRIBUTION.md", pack.parent / "ATTRIBUTION.md") if path.is_file()), None)
    if table is None:
        raise SystemExit(f"error: {pack}: no ATTRIBUTION.md there or beside it")
    licences = admitted(pack, split)
    found: list[Attribution] = []
    for line in table.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        match = _ROW.fullmatch(cells[0])
        if match is None or len(cells) != 6:
            continue
        used = tuple(sorted(name for name in licences if _is_used(name, cells[4])))
        if used:
            kinds = ", ".join(sorted({licences[name] for name in used}))
            address = f"https://github.com/{match['repository']}/tree/{match['commit']}"
            found.append(Attribution(used, cells[1], kinds, address, cells[2], cells[5]))
    missing = set(licences) - {name for one in found for name in one.sources}
    if missing:
        raise SystemExit(f"error: {table}: nobody is named for {', '.join(sorted(missing))}")
    return found


def _is_used(name: str, text: str) -> bool:
    """Whether a list such as ``drums/kit_*, shaker (valid), other/piano and bell`` names ``stem/source``."""
    stem = ""
    for word in re.split(r",|;| and ", re.sub(r"\([^)]*\)", "", text)):
        if "/" in word:
            stem = word.split("/")[0].strip()
        if stem and fnmatchcase(name, f"{stem}/{word.split('/')[-1].strip()}"):
            return True
    return False


def listing_hash(pack: Path) -> str:
    """Give the SHA-256 of the listing of all files of the pack (``SHA256SUMS`` beside it), once it fits the index."""
    listing = pack.parent / "SHA256SUMS"
    lines = listing.read_text(encoding="utf-8").splitlines()
    index = hashlib.sha256((pack / "index.csv").read_bytes()).hexdigest()
    if f"{index}  {pack.name}/index.csv" not in lines:
        raise SystemExit(f"error: {listing} is not of this {pack / 'index.csv'}")
    return hashlib.sha256(listing.read_bytes()).hexdigest()


def notice(name: str, licence: str, sources: list[Attribution]) -> str:
    """Write the notice that travels with the weights."""
    lines = [
        f"Weights of the model `{name}`",
        "",
        f"Copyright (c) 2026 the mss-cli maintainers. Licence: {licence}, {_CREATIVE_COMMONS[licence]}",
        "Whoever passes the weights on, changed or not, keeps this notice. Stems made with them are free of it.",
        "",
        "They were trained on songs played from recordings by those named below. No recording is part of the weights.",
        "Share-alike, non-commercial and no-derivatives material was not used. The authors endorse nothing here.",
        "",
    ]
    for one in sources:
        lines += [
            f"- {', '.join(one.sources)}",
            f"  author: {one.author}",
            f"  address: {one.address}",
            f"  licence: {one.licence}" + (f" (stated: {one.stated})" if one.stated not in one.licence else ""),
            f"  changed: {one.changed}; then played as songs and learned from",
        ]
    used = sorted({kind for one in sources for kind in one.licence.split(", ")})
    lines += ["", "Texts of the licences:"]
    lines += [f"- {kind}: {_CREATIVE_COMMONS.get(kind, 'at the addresses above')}" for kind in used]
    return "\n".join(lines) + "\n"
