"""Recipes: all that decides what is trained, on what and how, as values checked by pydantic.

Files are read by `mss_cli.training.recipe_file`, which joins the mistakes found here with their lines. A key that
is not listed is refused. Nothing here touches a file or a tensor.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError


def _no_truth(value: object) -> object:
    """Refuse `true` where pydantic would read 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "true and false are no numbers")
    return value


Json = JsonValue
Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Positive = Annotated[Number, Field(gt=0.0)]
Decay = Annotated[Number, Field(ge=0.0, lt=1.0)]
Count = Annotated[Whole, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Network(Section):
    """What is trained: an architecture of `mss_models.catalog` with settings, on top of a named one if any.

    Attributes
    ----------
    preset : str or None
        A name in `mss_models.presets.SHIPPED`; `settings` replace its values key by key.
    architecture : str or None
        Needed without a preset.
    settings : mapping
        As `mss_models.catalog.build` reads them.
    each : mapping
        Of an architecture with a network per stem: laid over the settings of every network.
    targets : tuple of str or None
        Of an architecture with a network per stem, only these networks. With fewer than all there is no residual
        stem: what is left would not be what its name says.
    """

    preset: str | None = None
    architecture: str | None = None
    settings: Mapping[str, Json] = {}
    each: Mapping[str, Json] = {}
    targets: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Network":
        if self.preset is None and self.architecture is None:
            raise ValueError("give `preset` or `architecture`")
        return self


class Source(Section):
    """What every source of songs has: its folder and how often it is drawn from."""

    root: Path
    weight: Positive = 1.0
    licence: str = "unknown"


class SongSource(Source):
    """A data set of songs with stems; `folders` is a folder per track."""

    kind: Literal["musdb18", "musdb18hq", "musdb18-7s", "dsd100", "medleydb", "mir1k", "ikala", "ccmixter", "folders"]
    subset: str | None = None
    tracks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class ClassSource(Source):
    """A folder per stem with any audio files in it; every stem comes from another file."""

    kind: Literal["classes"]


class PairSource(Source):
    """A folder per track with `mixture.*` and `instrumental.*`: the vocals are the difference."""

    kind: Literal["pairs"]


class NoteSource(Source):
    """Note sample packs with an index, played as songs by `mss_cli.datasets.player`.

    Attributes
    ----------
    split : str
        Of the pack.
    songs, seconds : int, float
        How many songs of what length are played before new ones take their place.
    refresh_steps : int or None
        After so many steps the next `songs` songs are played; None keeps the first ones.
    vocals : {"any", "sung-notes", "phrases", "recorded"}
        Only "sung-notes" have an exactly known pitch.
    share_alike : bool
        Allow material under share-alike licences.
    """

    kind: Literal["notes"]
    split: str = "train"
    songs: Count = 200
    seconds: Positive = 30.0
    refresh_steps: Count | None = None
    vocals: Literal["any", "sung-notes", "phrases", "recorded"] = "any"
    share_alike: bool = False


AnySource = Annotated[SongSource | ClassSource | PairSource | NoteSource, Field(discriminator="kind")]


class Mixing(Section):
    """How stems of different songs meet in one example.

    Attributes
    ----------
    coherent, coherent_end : float, in [0, 1]
        Share of examples whose stems all come from one song at one time: at the first step, and after
        `coherent_steps` steps, linear between them.
    matched : {"none", "tempo", "beat", "key"}
        What stems of different songs must share: T 7.2. "beat" also aligns the beats, "key" also the key.
    silence : float, in [0, 1]
        Share of examples that may be silent in all targets; other draws are moved to where a target sounds.
    """

    coherent: Share = 1.0
    coherent_end: Share | None = None
    coherent_steps: Count = 1
    matched: Literal["none", "tempo", "beat", "key"] = "none"
    silence: Share = 0.1


class Data(Section):
    """Where examples come from.

    Attributes
    ----------
    train, valid : tuple of sources
        Without `valid` sources nothing is validated and the last weights are the best.
    stems : mapping of str to tuple of str
        Stems of an example by name, each a sum of stems of the songs; `["*"]` is everything not named before.
        Their sum is the mixture.
    frames, seconds : int, float
        Length of an example: frames of the network's transform, or seconds.
    valid_examples : int
        Examples of the validation, always the same.
    cache : Path or None
        Folder for decoded and played songs; inside the run's folder if None.
    workers : int
        Processes that make examples; 0 makes them in the training process.
    """

    train: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    valid: tuple[AnySource, ...] = ()
    stems: Annotated[Mapping[str, tuple[str, ...]], Field(min_length=1)]
    frames: Count | None = None
    seconds: Positive | None = None
    valid_examples: Count = 32
    cache: Path | None = None
    workers: Annotated[Whole, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _one_length(self) -> "Data":
        if (self.frames is None) == (self.seconds is None):
            raise ValueError("give either `frames` or `seconds`")
        return self


class Step(Section):
    """One augmentation.

    Attributes
    ----------
    step : str
        Its name in `mss_models.augmentation.chain.STEPS`.
    probability : float, in [0, 1], or None
        How often it is applied; the step's own if None.
    settings : mapping
        Its ranges.
    """

    step: str
    probability: Share | None = None
    settings: Mapping[str, Json] = {}


class Augmentation(Section):
    """Steps per stem, then, on the stems together, per track (thesis 6.2)."""

    stem: tuple[Step, ...] = ()
    track: tuple[Step, ...] = ()


class LossTerm(Section):
    """One term of the loss; see `mss_models.losses.Term`.

    Attributes
    ----------
    term : str
        Its name; every term is logged under it.
    weight : float, >= 0
        Its factor in the sum; with 0 it is logged and not learned.
    target : {"stem", "rectified-difference"}
        What a magnitude term compares with.
    n_fft, hop_length : int or None, samples
        The transform of a term on spectra; the network's own if None.
    """

    term: Literal[
        "magnitude-l1",
        "magnitude-l2",
        "sdr",
        "waveform-l1",
        "waveform-mse",
        "spectrum-l1",
        "multi-resolution-stft",
        "log-energy",
        "salience-l2",
    ]
    weight: Annotated[Number, Field(ge=0.0)] = 1.0
    target: Literal["stem", "rectified-difference"] = "stem"
    n_fft: Count | None = None
    hop_length: Count | None = None


class Teacher(Section):
    """Where the salience that a pitch network learns comes from.

    Attributes
    ----------
    kind : {"labels", "deep-salience", "pyin"}
        "labels": the notes a song was played with; the others listen to the isolated vocals.
    weights : Path or None
        Of Deep Salience.
    """

    kind: Literal["labels", "deep-salience", "pyin"] = "labels"
    weights: Path | None = None

    @model_validator(mode="after")
    def _weights_where_needed(self) -> "Teacher":
        if (self.kind == "deep-salience") != (self.weights is not None):
            raise ValueError("`weights` belong to `deep-salience`, which needs them")
        return self


class Optimizer(Section):
    """Optimiser and learning rate: a linear rise over `warmup_steps`, then constant or a cosine to zero.

    "cooldown" is constant and then a straight fall to zero over the last `cooldown_steps`: a training that may be
    prolonged keeps its rate until it is to end (Zhai et al., "Scaling vision transformers", CVPR 2022). "rmsprop" is
    PyTorch's with its own smoothing of 0.99 and no momentum; `betas` are Adam's.
    """

    name: Literal["adam", "adamw", "rmsprop"] = "adam"
    learning_rate: Annotated[Number, Field(gt=0.0, le=1000.0)] = 2e-4
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: Annotated[Number, Field(ge=0.0, le=1000.0)] = 0.0
    schedule: Literal["constant", "cosine", "cooldown"] = "constant"
    warmup_steps: Annotated[Whole, Field(ge=0)] = 0
    cooldown_steps: Annotated[Whole, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _betas_of_adam(self) -> "Optimizer":
        if self.name == "rmsprop" and self.betas != Optimizer.model_fields["betas"].default:
            raise ValueError("`betas` belong to `adam` and `adamw`")
        return self


class Training(Section):
    """Length and manner of the training.

    Attributes
    ----------
    steps, batch, accumulate : int
        Updates of the weights; examples per device at once; batches per update.
    clip : float or None
        Largest norm of the gradient.
    ema : float, in [0, 1), or None
        Decay of the averaged weights, which are validated and saved.
    seed : int
        Of the first weights, of every example and of dropout.
    validate_steps : int
        Updates between validations.
    checkpoint_minutes : float
        At most so much work is lost by a kill.
    """

    steps: Count
    batch: Annotated[Whole, Field(ge=1, le=65_536)] = 16  # more is a slip of the pen, and no memory holds it
    accumulate: Count = 1
    clip: Positive | None = None
    ema: Decay | None = None
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    validate_steps: Count = 500
    checkpoint_minutes: Positive = 5.0


class Recipe(Section):
    """A whole training.

    Attributes
    ----------
    name : str
        Of the run's folder and of the trained weights.
    source : str
        Paper, section, equation that it follows.
    licence : str
        Of the trained weights.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    source: str
    licence: str = "unknown"
    network: Network
    data: Data
    mixing: Mixing = Mixing()
    augmentation: Augmentation = Augmentation()
    loss: Annotated[tuple[LossTerm, ...], Field(min_length=1)]
    teacher: Teacher | None = None
    optimizer: Optimizer = Optimizer()
    training: Training
