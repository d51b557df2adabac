"""What the recipe's schema allows, in words, for messages and for the reference in `docs/train.md`."""

import types
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from mss_cli.training.recipe_errors import Key
from mss_cli.training.yaml_tree import Json

_PLAIN: Mapping[object, str] = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}


def describe(annotation: object) -> str:
    """Say what values a field takes: "whole number >= 1", "one of adam, adamw", "path or null"."""
    kind, limits = _peeled(annotation)
    if kind is JsonValue:
        return "any value"
    if kind in _PLAIN:
        return _PLAIN[kind] + _limited(limits)
    members = _members(kind)
    if len(members) > 1:
        null = " or null" if type(None) in members else ""
        if len(models_of(kind)) > 1:
            return f"mapping with `kind` one of {', '.join(_by_kind(kind))}{null}"
        others = [member for member in members if member is not type(None)]
        return " or ".join(map(describe, others)) + null
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        least = " of at least 1" if _not_empty(limits) else ""
        if arguments[-1] is Ellipsis:
            return f"list{least}: {describe(arguments[0])}"
        return f"list of {len(arguments)}: {describe(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        least = " of at least 1" if _not_empty(limits) else ""
        return f"mapping{least} of names: {describe(arguments[1])}"
    return "mapping"


def models_of(annotation: object) -> tuple[type[BaseModel], ...]:
    """List the sections an annotation stands for, whether alone, in a list or one of several."""
    kind, _ = _peeled(annotation)
    found: tuple[type[BaseModel], ...] = ()
    for member in _members(kind):
        inner, _ = _peeled(member)
        if get_origin(inner) is tuple:
            found += models_of(get_args(inner)[0])
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            found += (inner,)
    return found


def annotation_of(field: FieldInfo) -> object:
    """Give the annotation of a field as it was written, limits included."""
    if not field.metadata:
        return field.annotation
    whole: object = Annotated[(field.annotation, *field.metadata)]
    return whole


def locate(model: type[BaseModel], location: Key, data: Json) -> tuple[Key, object]:
    """Turn a location of a pydantic error into the key of a recipe and what may stand there.

    Parameters
    ----------
    model : type of BaseModel
        What was validated.
    location : tuple of str and int
        Where pydantic saw the mistake; between the index of a list and a key it names the kind of section.
    data : Json
        What was validated.

    Returns
    -------
    key : tuple of str and int
        Without the names of kinds.
    annotation : object
        Of the field or section there; None if there is none, as for an unknown key.
    """
    key: list[str | int] = []
    annotation: object = model
    for part in location:
        kind, _ = _peeled(annotation)
        if len(models_of(kind)) > 1 and get_origin(kind) is not tuple:  # pydantic names the kind here
            annotation = _by_kind(kind).get(str(part))
            continue
        key.append(part)
        annotation = _inside(kind, part)
    return tuple(key), annotation


def _inside(kind: object, part: str | int) -> object:
    """Step from an annotation to that of a field or item."""
    for member in _members(kind):
        inner, _ = _peeled(member)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            field = inner.model_fields.get(str(part))
            return None if field is None else annotation_of(field)
        arguments = get_args(inner)
        origin = get_origin(inner)
        if origin is tuple and isinstance(part, int):
            return arguments[0] if arguments[-1] is Ellipsis or part >= len(arguments) else arguments[part]
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return arguments[1]
    return None


@cache
def _by_kind(union: object) -> Mapping[str, type[BaseModel]]:
    """Give the sections of a union by the values of their field `kind`."""
    return {
        str(value): model for model in models_of(union) for value in get_args(model.model_fields["kind"].annotation)
    }


def _peeled(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Take the limits off an annotation."""
    limits: tuple[object, ...] = ()
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        limits = (*more, *limits)
    return annotation, limits


def _not_empty(limits: tuple[object, ...]) -> bool:
    single = [inner for limit in limits for inner in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    return any(isinstance(limit, MinLen) for limit in single)


def _members(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _exact(bound: object) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _limited(limits: tuple[object, ...]) -> str:
    def words() -> Iterator[str]:
        for limit in limits:
            match limit:
                case Gt(gt=bound):
                    yield f"> {_exact(bound)}"
                case Ge(ge=bound):
                    yield f">= {_exact(bound)}"
                case Lt(lt=bound):
                    yield f"< {_exact(bound)}"
                case Le(le=bound):
                    yield f"<= {_exact(bound)}"
                case FieldInfo(metadata=inner):
                    yield from (word for word in [_limited(tuple(inner)).strip()] if word)
                case _:
                    pattern = getattr(limit, "pattern", None)
                    if pattern is not None:
                        yield f"matching `{pattern}`"

    joined = " and ".join(words())
    return f" {joined}" if joined else ""
