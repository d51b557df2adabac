"""What `--model` names: one model, or several joined by `+`, an ensemble whose estimates are averaged."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import UsageError
from mss_cli.events import Listener, ignore
from mss_cli.weights.installing import Terms, checkpoint_of
from mss_cli.weights.manifest import find
from mss_cli.weights.store import Card, load, read_card

if TYPE_CHECKING:
    from mss_models.separator import Separator

_JOINT = "+"
# In cards and messages; an ensemble is no architecture of its own.
ENSEMBLE = "ensemble"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a choice before anything is loaded.

    Parameters
    ----------
    name : str
        For file names and messages.
    stems : tuple of str
        In the order they are estimated.
    sample_rate : int, Hz
    architecture : str
        "ensemble" for several models.
    weights : tuple of Path
        Checkpoints, as far as they are there already.
    """

    name: str
    stems: tuple[str, ...]
    sample_rate: int
    architecture: str
    weights: tuple[Path, ...]


def members_of(text: str) -> tuple[str, ...]:
    """Take a choice apart: names and paths between `+`; a file or folder with `+` in its name is one.

    Raises
    ------
    UsageError
        If a name is missing or stands there twice.
    """
    if _JOINT not in text:
        return (text,)
    with suppress(OSError):  # as of a name that is too long
        if Path(text).exists():
            return (text,)
    names = tuple(name.strip() for name in text.split(_JOINT))
    if not all(names):
        raise UsageError(f"`--model {text}` has an empty name", hint="write models between single `+`")
    if len(set(names)) != len(names):
        raise UsageError(f"`--model {text}` names a model twice", hint="name each once")
    return names


def look_up(text: str, *, family: str | None = None, listener: Listener = ignore) -> Known:
    """Tell what is known of a choice; published models need not be there yet.

    Parameters
    ----------
    text : str
        Of `--model`.
    family : str or None
        Of checkpoints of others; found by their contents if None.
    listener : callable
        Takes warnings about them.

    Raises
    ------
    UsageError, WeightsError
        If there is no such model; if the models of an ensemble have different stems or rates.
    """
    found = [_look_up(name, family, listener) for name in _members_of(text, family)]
    first = found[0]
    if len(found) == 1:
        return first
    for other in found[1:]:
        if set(other.stems) != set(first.stems):
            hint = f"`{first.name}` has {', '.join(first.stems)}; `{other.name}` has {', '.join(other.stems)}"
            raise UsageError("the models of an ensemble must have the same stems", hint=hint)
        if other.sample_rate != first.sample_rate:
            hint = f"`{first.name}` works at {first.sample_rate} Hz, `{other.name}` at {other.sample_rate} Hz"
            raise UsageError("the models of an ensemble must work at the same rate", hint=hint)
    return Known(
        name=_JOINT.join(one.name for one in found),
        stems=first.stems,
        sample_rate=first.sample_rate,
        architecture=ENSEMBLE,
        weights=tuple(path for one in found for path in one.weights),
    )


def checkpoints_of(
    text: str, *, terms: Terms | None = None, family: str | None = None, listener: Listener = ignore
) -> tuple[Path, ...]:
    """Give the checkpoints of a choice, fetched where they are not there and that is allowed.

    Parameters
    ----------
    text : str
        Of `--model`.
    terms, family, listener
        As in `mss_cli.weights.installing.checkpoint_of`.

    Raises
    ------
    UsageError, WeightsError, DownloadError, OutputError
        As `checkpoint_of`.
    """
    names = _members_of(text, family)
    paths = [checkpoint_of(name, terms=terms, family=family, listener=listener) for name in names]
    return tuple(path for path in paths if path is not None)


def load_choice(
    text: str, *, terms: Terms | None = None, family: str | None = None, listener: Listener = ignore
) -> "tuple[Separator, Card]":
    """Load what `--model` names.

    Parameters
    ----------
    text : str
        Of `--model`.
    terms, family, listener
        As in `mss_cli.weights.installing.checkpoint_of`.

    Returns
    -------
    tuple of Separator and Card
        The separator is on the CPU and not yet prepared. The card of an ensemble says what holds for all members.

    Raises
    ------
    UsageError, WeightsError, DownloadError, OutputError
        If one of the models cannot be had or loaded, or they do not go together.
    """
    names = _members_of(text, family)
    if len(names) == 1:
        return load(names[0], terms=terms, family=family, listener=listener)
    look_up(text, listener=listener)
    loaded = [load(name, terms=terms, listener=listener) for name in names]
    from mss_models.networks.bag import Bag
    from mss_models.streaming import PerChannel

    channels = max(separator.channels for separator, _ in loaded)
    members = [
        separator if separator.channels == channels else PerChannel(separator, channels) for separator, _ in loaded
    ]
    ensemble = Bag(members)
    return ensemble, _joint_card([card for _, card in loaded], ensemble.stems)


def _members_of(text: str, family: str | None) -> tuple[str, ...]:
    names = members_of(text)
    if family is not None and len(names) > 1:
        raise UsageError("`--architecture` is for one checkpoint", hint="leave it out for an ensemble")
    return names


def _look_up(name: str, family: str | None, listener: Listener) -> Known:
    found = find(name)
    if not isinstance(found, Path):
        weights = () if found.weights is None else (found.weights,)
        if family is not None:
            raise UsageError("`--architecture` is for checkpoints of others", hint=f"leave it out: `{name}` has one")
        return Known(found.name, found.stems, found.sample_rate, found.architecture, weights)
    path = checkpoint_of(name, family=family, listener=listener) or found
    card = read_card(path)
    return Known(card.name, card.stems, card.sample_rate, card.architecture, (path,))


def _joint_card(cards: Sequence[Card], stems: tuple[str, ...]) -> Card:
    errors = [card.bf16_error_db for card in cards if card.bf16_error_db is not None]
    losses = [card.bf16_sdr_loss_db for card in cards if card.bf16_sdr_loss_db is not None]
    random = any(card.is_random for card in cards)
    return Card(
        name=_JOINT.join(card.name for card in cards),
        architecture=ENSEMBLE,
        configuration={},
        stems=stems,
        sample_rate=cards[0].sample_rate,
        training="none" if random else "; ".join(f"{card.name}: {card.training}" for card in cards),
        licence="; ".join(dict.fromkeys(card.licence for card in cards)),
        bf16_error_db=max(errors) if len(errors) == len(cards) else None,
        bf16_sdr_loss_db=max(losses) if len(losses) == len(cards) else None,
        data=tuple(dict.fromkeys(source for card in cards for source in card.data)),
    )
