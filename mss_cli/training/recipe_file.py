"""Recipe files: YAML that may extend another file, changed by `--set`, to a `Recipe`, with all mistakes at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mss_cli.training.overrides import apply_override, override_origin
from mss_cli.training.recipe import Augmentation, Data, Json, LossTerm, Network, Recipe, Teacher
from mss_cli.training.recipe_checks import Parts, find_wrong
from mss_cli.training.recipe_errors import Key, Mistake, Place, RecipeError, unknown
from mss_cli.training.recipe_parts import resolve_network
from mss_cli.training.recipe_words import annotation_of, describe, locate, models_of
from mss_cli.training.yaml_tree import Dumper, Scalar, Table, Tree, merge, parse, place_at, plain

_EXTENDS = "extends"
_Part = TypeVar("_Part", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe and where it came from.

    Attributes
    ----------
    recipe : Recipe
        Valid, and its network can be built.
    files : tuple of Path
        The file, then those it extends, nearest first.
    overrides : tuple of str
        As given.
    """

    recipe: Recipe
    files: tuple[Path, ...]
    overrides: tuple[str, ...]


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe, with what it extends and what the command line changes, and check all of it.

    Parameters
    ----------
    path : Path
        A YAML file. Its key `extends` names another, relative to it, which is laid beneath: mappings are joined key
        by key, lists and values replaced.
    overrides : sequence of str
        `key.path=value`, as of `--set`; the last one of a key holds.

    Returns
    -------
    LoadedRecipe
        The recipe and its origin.

    Raises
    ------
    RecipeError
        If anything is wrong: carries every mistake with file, line, column, what is allowed and the nearest name.
    """
    mistakes: list[Mistake] = []
    files: list[Path] = []
    tree = _read_chain(path, Place(str(path), 1, 1), files, mistakes)
    if mistakes and tree is None:
        raise RecipeError(mistakes, _origins(files, overrides))
    for override in overrides:
        tree, wrong = apply_override(tree or Table(Place(str(path), 1, 1), {}), override)
        mistakes += wrong
    recipe = _validate(tree or Table(Place(str(path), 1, 1), {}), mistakes)
    if recipe is None:
        raise RecipeError(mistakes, _origins(files, overrides))
    return LoadedRecipe(recipe, tuple(files), tuple(overrides))


def effective(loaded: LoadedRecipe) -> dict[str, Json]:
    """Give every value of a recipe, defaults and the network's settings included, for JSON.

    The preset of the network is written out, so that what is recorded does not change with the catalogue.
    """
    import torch

    from mss_models.catalog import build, configuration_of
    from mss_models.classical.four_stems import ClassicalSeparator

    recipe = loaded.recipe
    values: dict[str, Json] = recipe.model_dump(mode="json")
    configuration = resolve_network(recipe.network)
    with torch.device("meta"):  # no memory for weights
        built = build(configuration.architecture, configuration.settings)
    if not isinstance(built, ClassicalSeparator):
        configuration = configuration_of(built)
    settings: Json = TypeAdapter(dict[str, object]).dump_python(dict(configuration.settings), mode="json")
    network = Network(architecture=configuration.architecture).model_dump(mode="json")
    values["network"] = {**network, "settings": settings}
    return values


def print_config(loaded: LoadedRecipe) -> str:
    """Write every value of a recipe as YAML, in the order of the schema; the text is a recipe that means the same."""
    text: str = yaml.dump(
        effective(loaded), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False
    )
    return text


def _origins(files: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    return [*map(str, files), *(override_origin(override) for override in overrides)]


def _read_chain(path: Path, asked: Place, files: list[Path], mistakes: list[Mistake]) -> Tree | None:
    """Read a file and, beneath it, what it extends; None if one cannot be read."""
    key: Key = (_EXTENDS,) if files else ()
    try:
        text = path.read_bytes().decode("utf-8")
        identity = path.resolve()
    except (OSError, ValueError) as error:
        what = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not text in UTF-8"
        shown = f"cannot read `{path}`: {what}" if files else f"cannot read: {what}"
        mistakes.append(Mistake(asked if files else Place(str(path)), key, shown))
        return None
    if identity in (file.resolve() for file in files):
        chain = " -> ".join(str(file) for file in (*files, path))
        mistakes.append(Mistake(asked, key, f"a recipe extends itself: {chain}"))
        return None
    files.append(path)
    tree, wrong = parse(text, lambda line, column: Place(str(path), line, column))
    mistakes += wrong
    if not isinstance(tree, Table):
        if not wrong:
            mistakes.append(Mistake(tree.place, (), "a recipe is a mapping of keys"))
        return None
    base = tree.entries.get(_EXTENDS)
    own = Table(tree.place, {name: entry for name, entry in tree.entries.items() if name != _EXTENDS})
    if base is None:
        return own
    if not isinstance(base.value, Scalar) or not isinstance(base.value.value, str):
        mistakes.append(Mistake(base.place, (_EXTENDS,), "expected the path of another recipe"))
        return None
    below = _read_chain(path.parent / base.value.value, base.place, files, mistakes)
    return None if below is None else merge(below, own)


def _validate(tree: Tree, mistakes: list[Mistake]) -> Recipe | None:
    """Check everything that can be checked; None if there were mistakes, now or before."""
    data = plain(tree)
    recipe: Recipe | None = None
    unread = {mistake.key for mistake in mistakes}
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            found = _say(detail, data)
            if found is not None and not (found[0] in unread and value_at(data, found[0]) is None):
                mistakes.append(Mistake(place_at(tree, found[0]), *found))
    values = data if isinstance(data, dict) else {}
    for key, text in find_wrong(_parts(values)):
        mistakes.append(Mistake(place_at(tree, key), key, text))
    return None if mistakes else recipe


def _parts(values: Mapping[str, Json]) -> Parts:
    """Take the sections that are valid in themselves."""
    augmentation = _part(Augmentation, values.get("augmentation"))
    try:
        loss = TypeAdapter(tuple[LossTerm, ...]).validate_python(values.get("loss"))
    except ValidationError:
        loss = None
    teacher = _part(Teacher, values.get("teacher"))
    return Parts(
        network=_part(Network, values.get("network")),
        data=_part(Data, values.get("data")),
        stem_steps=augmentation.stem if augmentation is not None else (),
        track_steps=augmentation.track if augmentation is not None else (),
        loss=loss or None,
        teacher=teacher,
        teacher_is_sound=teacher is not None or values.get("teacher") is None,
    )


def _part(model: type[_Part], value: Json) -> _Part | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def _say(detail: ErrorDetails, data: Json) -> tuple[Key, str] | None:
    """Put one of pydantic's errors in our words; None for one that only follows from another."""
    key, annotation = locate(Recipe, detail["loc"], data)
    value: Json = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            parent = locate(Recipe, detail["loc"][:-1], data)[1]
            return key, unknown("key", str(key[-1]), _keys(parent, value_at(data, key[:-1])))
        case "missing":
            return key, f"missing; needs a {describe(annotation)}"
        case "value_error":
            return key, detail["msg"].removeprefix("Value error, ")
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = [kind for model in models_of(annotation) for kind in _kinds(model)]
            if not isinstance(value, dict) or "kind" not in value:
                return (*key, "kind"), f"missing; allowed: {', '.join(kinds)}"
            return (*key, "kind"), unknown("kind", _shown(value["kind"]), kinds)
        case "too_short" if value_at(data, key):
            return None  # the items are wrong, and said so themselves
        case "literal_error":
            allowed = describe(annotation).removeprefix("one of ").removesuffix(" or null").split(", ")
            return key, unknown("value", _shown(value), allowed)
    return key, f"`{_shown(value)}` is not allowed; allowed: {describe(annotation)}"


def value_at(data: Json, key: Key) -> Json:
    """Give the value under a key, or None."""
    for part in key:
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _keys(annotation: object, value: Json) -> list[str]:
    """List the keys of a section."""
    models = models_of(annotation)
    if len(models) > 1 and isinstance(value, dict):
        models = tuple(model for model in models if value.get("kind") in _kinds(model))
    return [name for model in models[:1] for name in model.model_fields]


def _kinds(model: type[BaseModel]) -> list[str]:
    """List the values of a section's field `kind`."""
    words = describe(annotation_of(model.model_fields["kind"])).removeprefix("one of ")
    return words.split(", ")


def _shown(value: Json) -> str:
    """Write a value short, as YAML would."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
