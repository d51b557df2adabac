"""What a recipe's schema cannot see: whether network, augmentation, loss, teacher and stems are possible together."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, get_args

from mss_cli.training.recipe import Data, LossTerm, Network, Step, Teacher
from mss_cli.training.recipe_errors import Key, unknown
from mss_cli.training.recipe_parts import PER_STEM, make_step, stems_of
from mss_cli.training.recipe_parts import resolve_network as resolve_network

if TYPE_CHECKING:
    from mss_models.catalog import Built

Wrong = tuple[Key, str]
_UNKNOWN = re.compile(r"unknown (\w+) `(.*?)`(?:, did you mean `(.*?)`\?)? \(allowed: (.*)\)")
# Steps after which the vocals do not have the pitch, at the time, that the teacher was asked for before.
_MOVES_PITCH = frozenset({"tempo-change", "pitch-shift", "resampling", "stem-dropout"})
# A mistake is taken out so that the next one can be found; more than these are not looked for.
_MOST_TRIES = 50
_LONGEST_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Parts:
    """The sections of a recipe that are valid in themselves; None for one that is not, or is absent."""

    network: Network | None
    data: Data | None
    stem_steps: tuple[Step, ...]
    track_steps: tuple[Step, ...]
    loss: tuple[LossTerm, ...] | None
    teacher: Teacher | None
    teacher_is_sound: bool


def find_wrong(parts: Parts) -> Iterator[Wrong]:
    """Find the keys whose values do not fit the catalogue, the registry of steps or each other."""
    built: Built | None = None
    if parts.network is not None:
        wrong, built = _network(parts.network)
        yield from wrong
    yield from _steps(("augmentation", "stem"), parts.stem_steps)
    yield from _steps(("augmentation", "track"), parts.track_steps)
    if parts.loss is not None:
        yield from _loss(parts.loss)
    if parts.data is not None:
        yield from _stems(parts.data, built)
        yield from _length(parts.data, built)
    if built is not None and parts.loss is not None and parts.teacher_is_sound:
        yield from _pitch(built, parts.loss, parts.teacher)
    if parts.data is not None and parts.teacher is not None and parts.teacher.kind == "labels":
        yield from _labels(parts.data)
    if parts.teacher is not None:
        yield from _unfaithful(("augmentation", "stem"), parts.stem_steps)
        yield from _unfaithful(("augmentation", "track"), parts.track_steps)


def _network(network: Network) -> tuple[list[Wrong], "Built | None"]:
    """Build the network without memory for its weights, taking out one mistake after the other."""
    from mss_models.configuration import Architecture
    from mss_models.presets import SHIPPED, shipped

    wrong: list[Wrong] = []
    if network.preset is not None and network.preset not in SHIPPED:
        wrong.append((("network", "preset"), unknown("preset", network.preset, list(SHIPPED))))
        near = difflib.get_close_matches(network.preset, SHIPPED, n=1, cutoff=0.5)
        if not near:
            return wrong, None
        meant = network.model_copy(update={"preset": near[0]})  # its other mistakes can be told already
        return wrong + _network(meant)[0], None
    architecture = network.architecture
    if network.preset is not None:
        architecture = shipped(network.preset).architecture
        if network.architecture not in (None, architecture):
            text = f"`{network.architecture}` is not that of preset `{network.preset}`; allowed: {architecture}, null"
            wrong.append((("network", "architecture"), text))
    if architecture == "classical":
        return [*wrong, (("network",), "`classical` has no weights to train")], None
    if architecture == PER_STEM:
        return _per_stem(network, wrong)
    for name in ("each", "targets"):
        if getattr(network, name):
            wrong.append((("network", name), f"is for a network per stem, not for `{architecture}`"))
    settings = dict(resolve_network(network).settings)
    found, built = _try_settings(str(architecture), settings, own={*network.settings})
    if architecture not in get_args(Architecture):
        return [*wrong, *((("network", "architecture"), text) for _, text in found)], None
    return [*wrong, *((_settings_key(("network", "settings"), key), text) for key, text in found)], built


def _per_stem(network: Network, wrong: list[Wrong]) -> tuple[list[Wrong], "Built | None"]:
    """Try every network alone, then all together."""
    from mss_models.presets import shipped

    preset = shipped(network.preset).settings if network.preset else {}
    settings: dict[str, object] = {**preset, **network.settings}
    members = settings.get("networks")
    if not isinstance(members, Sequence) or not all(isinstance(member, Mapping) for member in members):
        return [*wrong, (("network", "settings", "networks"), "expected a list of settings, one for each stem")], None
    stems = [stem for member in members for stem in sorted(stems_of(member))]
    for number, target in enumerate(network.targets or ()):
        if target not in stems:
            wrong.append((("network", "targets", number), unknown("stem", target, stems)))
    if network.targets == ():
        wrong.append((("network", "targets"), f"empty; allowed: {', '.join(stems)}, or null for all"))
    for number, member in enumerate(members):
        for key, text in _try_settings("unet", {**member, **network.each}, own={*member, *network.each})[0]:
            start: Key = ("network", "each") if key in network.each else ("network", "settings", "networks", number)
            if (found := (_settings_key(start, key), text)) not in wrong:
                wrong.append(found)
    if wrong:
        return wrong, None
    together, built = _try_settings(PER_STEM, dict(resolve_network(network).settings), own={*network.settings})
    return [(_settings_key(("network", "settings"), key), text) for key, text in together], built


def _try_settings(
    architecture: str, settings: dict[str, object], *, own: set[str]
) -> tuple[list[tuple[str | None, str]], "Built | None"]:
    """Build again and again without the key that was wrong; give all mistakes and, without any, what was built."""
    import torch

    from mss_models.catalog import build
    from mss_models.configuration import ConfigurationError

    wrong: list[tuple[str | None, str]] = []
    taken_out: set[str] = set()
    for _ in range(_MOST_TRIES):
        try:
            with torch.device("meta"):
                built = build(architecture, settings)
        except ConfigurationError as error:
            message = str(error)
        except (RuntimeError, OverflowError, TypeError, MemoryError):  # torch on sizes that no address can hold
            return [*wrong, (None, "a network of this size cannot be made; lower `base_channels` or `levels`")], None
        else:
            return wrong, None if wrong else built
        key, text = _understand(message, architecture, settings)
        if text == "missing" and key in taken_out:
            return wrong, None
        wrong.append((key, text))
        if key is None or key not in own or text == "missing":
            return wrong, None
        del settings[key]
        taken_out.add(key)
    return wrong, None


def _understand(message: str, architecture: str, settings: Mapping[str, object]) -> tuple[str | None, str]:
    """Find out which key the catalogue's message is about, and put it as we put ours."""
    parsed = _UNKNOWN.fullmatch(message)
    if parsed is not None:
        kind, name, meant, allowed = parsed.groups()
        text = f"unknown {kind} `{name}`; allowed: {allowed}" + (f"; did you mean `{meant}`?" if meant else "")
        return (name if kind == "key" else None), text
    if message.endswith(": missing"):
        return message.removesuffix(": missing"), "missing"
    key = next((word for word in re.findall(r"\w+", message) if word in settings), None)
    return key, message.removeprefix(f"{key}: ").removeprefix(f"{architecture}: ")


def _settings_key(start: Key, key: str | None) -> Key:
    return start if key is None else (*start, key)


def _steps(start: Key, steps: Sequence[Step]) -> Iterator[Wrong]:
    """Make every step once."""
    if not steps:
        return
    from mss_models.augmentation.chain import STEPS

    for number, step in enumerate(steps):
        key = (*start, number)
        if step.step not in STEPS:
            yield (*key, "step"), unknown("step", step.step, list(STEPS))
            continue
        kind = STEPS[step.step]
        if kind.across_stems and start[-1] == "stem":
            text = f"`{step.step}` chooses among the stems of an example; write it under `augmentation.track`"
            yield (*key, "step"), text
        allowed = [field.name for field in fields(kind) if field.name != "probability"]
        names = [name for name in step.settings if name not in allowed]
        for name in names:
            yield (*key, "settings", name), unknown("key", name, allowed)
        if names:
            continue
        try:
            make_step(step)
        except ValueError as error:  # the message begins with the name
            word = str(error).split()[0]
            known = word in step.settings
            yield ((*key, "settings", word) if known else key), str(error).removeprefix(f"{word} " if known else "")


def _loss(terms: Sequence[LossTerm]) -> Iterator[Wrong]:
    """Make every term once; names must differ, because each is logged under its own."""
    from mss_models.losses import Term

    seen: set[str] = set()
    for number, term in enumerate(terms):
        if term.term in seen:
            yield ("loss", number, "term"), f"`{term.term}` stands twice"
        seen.add(term.term)
        if term.term == "salience-l2":
            for name in ("target", "n_fft", "hop_length"):
                if getattr(term, name) != LossTerm.model_fields[name].default:
                    yield ("loss", number, name), "has no meaning for `salience-l2`"
            continue
        try:
            Term(term.term, term.weight, n_fft=term.n_fft, hop_length=term.hop_length, target=term.target)
        except ValueError as error:
            word = str(error).split()[0]
            key = ("loss", number, word) if word in LossTerm.model_fields else ("loss", number)
            yield key, str(error).removeprefix(f"{word} ")
    if not any(term.weight for term in terms):
        yield ("loss",), "every weight is 0: nothing is learned"


def _stems(data: Data, built: "Built | None") -> Iterator[Wrong]:
    """Every stem of the songs goes to one stem of the examples, and what the network estimates is among those."""
    owner: dict[str, str] = {}
    for name, parts in data.stems.items():
        if not parts:
            yield ("data", "stems", name), 'empty; name stems of the songs, or `["*"]` for all that are left'
        for number, part in enumerate(parts):
            if part in owner:
                yield ("data", "stems", name, number), f"`{part}` is in `{owner[part]}` already"
            owner[part] = name
    if built is None:
        return
    residual = getattr(built, "residual", None)
    for stem in built.stems:
        if stem not in data.stems and stem != residual:
            text = f"has no stem `{stem}`, which the network estimates; has {', '.join(data.stems)}"
            yield ("data", "stems"), text


def _length(data: Data, built: "Built | None") -> Iterator[Wrong]:
    """An example has samples, and not more than memory takes."""
    rate, transform = getattr(built, "sample_rate", None), getattr(built, "transform", None)
    if rate is None or transform is None:
        return
    key, samples = "frames", 0.0
    if data.seconds is not None:
        key, samples = "seconds", data.seconds * rate
    elif data.frames is not None:
        samples = transform.samples(data.frames)
    if not 0.5 < samples <= _LONGEST_SECONDS * rate:
        text = f"an example would have {samples:.3g} samples; allowed: 1 sample to {_LONGEST_SECONDS} s at {rate} Hz"
        yield ("data", key), text


def _pitch(built: "Built", terms: Sequence[LossTerm], teacher: Teacher | None) -> Iterator[Wrong]:
    """A salience is learned where the network gives one, and somebody must know it."""
    from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator

    settings = built.settings if isinstance(built, VocalPitchSeparator) else None
    gives_pitch = settings is not None and settings.gives_pitch
    gives_vocals = settings is None or settings.gives_vocals
    hears_pitch = settings is not None and settings.oracle == "salience"
    for number, term in enumerate(terms):
        if (term.term == "salience-l2") and not gives_pitch:
            yield ("loss", number, "term"), "`salience-l2` needs a network that estimates pitch"
        if term.term != "salience-l2" and not gives_vocals:
            text = f"`{term.term}` needs a network that estimates vocals; allowed: salience-l2"
            yield ("loss", number, "term"), text
        for name in ("target", "n_fft", "hop_length") if settings is not None and term.term == "magnitude-l1" else ():
            if getattr(term, name) != LossTerm.model_fields[name].default:
                yield ("loss", number, name), "is not for networks of vocals and pitch; leave it out"
        if settings is not None and term.term not in ("magnitude-l1", "salience-l2") and gives_vocals:
            text = f"`{term.term}` is not for networks of vocals and pitch; allowed: magnitude-l1, salience-l2"
            yield ("loss", number, "term"), text
    learned = {term.term for term in terms if term.weight}
    if settings is not None and len(settings.phases) > 1 and learned < {"magnitude-l1", "salience-l2"}:
        yield ("loss",), "each task is trained in its own part of the steps; needs both magnitude-l1 and salience-l2"
    if teacher is None and (gives_pitch or hears_pitch):
        yield ("teacher",), "missing; the network needs the salience of the vocals"
    if teacher is not None and not (gives_pitch or hears_pitch):
        yield ("teacher",), "the network has no use for the salience of the vocals; leave it out or write null"


def _labels(data: Data) -> Iterator[Wrong]:
    """Only songs played from notes know their pitch."""
    for place, sources in (("train", data.train), ("valid", data.valid)):
        for number, source in enumerate(sources):
            if source.kind != "notes":
                text = f"`{source.kind}` has no labels of pitch, which teacher `labels` needs; allowed: notes"
                yield ("data", place, number, "kind"), text


def _unfaithful(start: Key, steps: Sequence[Step]) -> Iterator[Wrong]:
    """A salience is made before the augmentation, and so must still be true after it."""
    for number, step in enumerate(steps):
        if step.step in _MOVES_PITCH:
            text = f"`{step.step}` changes the vocals and not their salience; leave it out, or write `teacher: null`"
            yield (*start, number, "step"), text
