"""The model card for people, from the card in the weights and from what was measured."""

from pathlib import Path

from default_attribution import Attribution
from default_scores import Judged, report
from default_songs import CONSTRUCTED, EXCERPT, REAL
from mss_cli.datasets.player.pack import STEMS
from mss_cli.weights.store import Card
from mss_models.catalog import build
from mss_models.networks.subband_separator import SubbandSeparator, multiply_accumulates

_LIMITS = """\
- It learned from songs that a program plays from samples, with processing as on records. Real records are harder:
  compare the rows of real and constructed songs below.
- Few singers are in the data, most of them women and most of the phrases from dance music; much of the singing is made
  from speech. Expect the most trouble with male, rough and very soft voices, choirs, and voices behind effects.
- Whatever is none of voice, drums and bass is `other`. Distorted guitars, strings and brass were rare in the data.
- Stems that a song does not have are not silent: their levels are below.
- Nothing above {treble:.1f} kHz is told apart; unless consistency shares it out, what is there goes to `other`.
- It was not judged on MUSDB18, and its numbers are not to be compared with published ones on other songs."""
_LICENCE = """\
The weights are under {licence}. What they were trained on is CC0, public domain, under permissive software licences,
free for any use, or CC BY; the strictest of these asks that authors are named and that the naming is passed on, and so
does CC BY 4.0. It is not settled whether weights are adapted from the recordings that they were learned from; under
this licence and with this list every condition is met in either case. Share-alike material (CC BY-SA), which would bind
the weights to its own licence, was refused by the loader, by name. Stems that the model makes are not bound by it. The
list below is in the metadata of the weights and in `{notice}`, which is part of the wheel."""


def write_card(
    path: Path, weights: Path, card: Card, sources: list[Attribution], judged: Judged, *, halved_db: float
) -> None:
    """Write Markdown; what the file in the package cannot say (tables of scores) was measured just before."""
    separator = build(card.architecture, card.configuration)
    if not isinstance(separator, SubbandSeparator):
        raise SystemExit(f"error: {card.architecture}: only sub-band networks have a card yet")
    settings = separator.settings
    treble = settings.front_end.bins * settings.front_end.sample_rate / settings.front_end.stft.n_fft / 1000
    count = sum(weight.numel() for weight in separator.parameters())
    real, constructed, excerpt = (_mean(card, group) for group in (REAL, CONSTRUCTED, EXCERPT))
    bf16 = "takes" if card.allows_bf16 else "does not take"
    facts = {
        "use": f"`mss-cli separate song.mp3 --model {card.name}`: {', '.join(card.stems)}",
        "architecture": f"`{card.architecture}`, {count / 1e6:.2f} million weights, "
        f"{multiply_accumulates(settings) / 1e9:.2f} GMAC per second of audio; {card.sample_rate} Hz stereo",
        "file": f"`{weights.name}`, {weights.stat().st_size / 1e6:.2f} MB: matrices as fp16, the rest as fp32",
        "training": f"{card.training}; seed {card.seed}",
        "data": f"stems-v1, {len(sources)} origins; SHA-256 of its listing `{card.data_hash}`",
        "licence of the weights": card.licence,
        "mean uSDR": f"real songs {real}, constructed songs {constructed}, excerpt {excerpt}",
        "fp16 storage": f"difference of the estimates {halved_db} dB against fp32 weights",
        "bf16": f"difference {card.bf16_error_db} dB, loss of uSDR {card.bf16_sdr_loss_db} dB; "
        f"`--precision auto` {bf16} it where the CPU is fast at it",
    }
    rows = "\n".join(f"| {name} | {text} |" for name, text in facts.items())
    lines = "\n".join(
        f"| {', '.join(one.sources)} | {_cell(one.author)} | {_cell(one.stated)} | <{one.address}> |" for one in sources
    )
    text = f"""# Model `{card.name}`

Written by `benchmarks/ship_default.py`; the card inside the file says the same.

| | |
| --- | --- |
{rows}

Made for: separating songs into four stems on ordinary computers, offline, for any purpose. Not made for: finding out
whether a song has a voice, forensics, or scores that matter without listening.

## Where it fails

{_LIMITS.format(treble=treble)}

## Licence

{_LICENCE.format(licence=card.licence, notice=f"{weights.stem}.NOTICE.txt")}

## Data

| used as | author | licence | address |
| --- | --- | --- | --- |
{lines}

All of it was cut, levelled and coded as Ogg Vorbis before; then played as songs.

## Scores

`python benchmarks/default_scores.py --model {card.name} --precision fp32`

{report(judged)}
"""
    path.write_text(text, encoding="utf-8")


def _mean(card: Card, group: str) -> str:
    found = [card.scores[f"{group} {stem}"] for stem in STEMS if f"{group} {stem}" in card.scores]
    return f"{sum(found) / len(found):.2f} dB" if found else "not measured"


def _cell(text: str) -> str:
    return text.replace("|", "/")
