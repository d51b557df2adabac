"""YAML text to values that know where they stand.

PyYAML's safe loader composes the text; what a plain word means is decided here as in YAML 1.2: `1e-4` is a number,
`no`, `on` and `012` are not what YAML 1.1 makes of them. Keys that stand twice, tags and numbers that JSON cannot
hold are mistakes. All mistakes of a text are found at once, but of its syntax only the first.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import yaml

from mss_cli.training.recipe_errors import Key, Mistake, Place

Value = None | bool | int | float | str
_TAG = "tag:yaml.org,2002:"
_MOST_NODES = 20_000
_DEEPEST = 50
_MOST_DIGITS = 30
_RESOLVERS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+.0123456789"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts."""

    place: Place
    value: Value


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's place and its value."""

    place: Place
    value: "Tree"


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order of the text."""

    place: Place
    entries: Mapping[str, Entry]


Tree = Scalar | Sequence | Table
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain words of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to forget the words of 1.1


class Dumper(yaml.SafeDumper):
    """The safe dumper, a line for each key; text that YAML 1.1 or 1.2 would read as something else is quoted."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal parts out instead of naming them."""
        return True

    def represent_list(self, data: Iterable[object]) -> yaml.SequenceNode:
        """Write a list of plain values in one line."""
        items = list(data)
        short = not any(isinstance(item, dict | list) for item in items)
        return self.represent_sequence(_TAG + "seq", items, flow_style=short)


Dumper.add_representer(list, Dumper.represent_list)
for _name, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, Dumper):
        _starts = ["" if character == "\0" else character for character in _first]
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _starts)


def parse(text: str, place_of: Callable[[int, int], Place]) -> tuple[Tree, list[Mistake]]:
    """Read one YAML document.

    Parameters
    ----------
    text : str
        The document.
    place_of : callable
        Makes a place of a line and a column, both from 1.

    Returns
    -------
    tree : Scalar, Sequence or Table
        What could be read; empty text is a null.
    mistakes : list of Mistake
        Empty if all is well.
    """
    too_large = f"too large: more than {_MOST_NODES} values, or deeper than {_DEEPEST} levels"
    try:
        node = yaml.compose(text, Loader=_Loader)
    except RecursionError:  # PyYAML goes down level by level
        place = place_of(1, 1)
        return Scalar(place, None), [Mistake(place, (), too_large)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = place_of(1, 1) if mark is None else place_of(mark.line + 1, mark.column + 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return Scalar(place, None), [Mistake(place, (), f"not YAML: {what}")]
    except yaml.YAMLError as error:  # a character that YAML does not allow
        place = place_of(1, 1)
        return Scalar(place, None), [Mistake(place, (), f"not YAML: {' '.join(str(error).split())}")]
    if node is None:
        return Scalar(place_of(1, 1), None), []
    reader = _Reader(place_of)
    try:
        return reader.tree(node, ()), reader.mistakes
    except _TooLargeError:
        place = place_of(1, 1)
        return Scalar(place, None), [Mistake(place, (), too_large)]


class _TooLargeError(Exception):
    """A document that no recipe needs, or an alias of its own parent, which has no end."""


class _Reader:
    """Turns PyYAML's nodes into trees."""

    def __init__(self, place_of: Callable[[int, int], Place]) -> None:
        self._place_of = place_of
        self._nodes = 0
        self.mistakes: list[Mistake] = []

    def tree(self, node: yaml.Node, key: Key) -> Tree:
        place = self._place_of(node.start_mark.line + 1, node.start_mark.column + 1)
        self._nodes += 1
        if self._nodes > _MOST_NODES or len(key) > _DEEPEST:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._table(node, place, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = (self.tree(item, (*key, number)) for number, item in enumerate(node.value))
            return Sequence(place, tuple(items))
        if isinstance(node, yaml.ScalarNode):
            return Scalar(place, self._scalar(node, place, key))
        self._refuse_tag(node, place, key)
        return Scalar(place, None)

    def _table(self, node: yaml.MappingNode, place: Place, key: Key) -> Table:
        entries: dict[str, Entry] = {}
        for name_node, value_node in node.value:
            name_place = self._place_of(name_node.start_mark.line + 1, name_node.start_mark.column + 1)
            if not isinstance(name_node, yaml.ScalarNode):
                self._wrong(name_place, key, "a key must be a word")
                continue
            name: str = name_node.value
            if name in entries:
                first = entries[name].place
                self._wrong(name_place, (*key, name), f"key stands twice, first in line {first.line}")
                continue
            entries[name] = Entry(name_place, self.tree(value_node, (*key, name)))
        return Table(place, entries)

    def _scalar(self, node: yaml.ScalarNode, place: Place, key: Key) -> Value:
        text: str = node.value
        try:
            match node.tag.removeprefix(_TAG):
                case "str":
                    text.encode()  # half of an escaped pair is no text
                    return text
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    if len(text) > _MOST_DIGITS:
                        self._wrong(place, key, f"`{text[:_MOST_DIGITS]}...` has too many digits")
                        return None
                    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
                case "float":
                    if "n" in text.lower() or not math.isfinite(float(text)):  # .inf, .nan, 1e999
                        self._wrong(place, key, f"`{text}` is no finite number")
                        return None
                    return float(text)
        except UnicodeEncodeError:
            self._wrong(place, key, f"{text!r} is no text")
            return None
        except ValueError:  # an explicit tag on other text
            pass
        self._refuse_tag(node, place, key)
        return None

    def _refuse_tag(self, node: yaml.Node, place: Place, key: Key) -> None:
        self._wrong(place, key, f"tag `{node.tag.replace(_TAG, '!!')}` is not allowed here")

    def _wrong(self, place: Place, key: Key, text: str) -> None:
        self.mistakes.append(Mistake(place, key, text))


def plain(tree: Tree) -> Json:
    """Give the values of a tree without their places."""
    match tree:
        case Table():
            return {name: plain(entry.value) for name, entry in tree.entries.items()}
        case Sequence():
            return [plain(item) for item in tree.items]
        case Scalar():
            return tree.value


def place_at(tree: Tree, key: Key) -> Place:
    """Find where a key stands, or the nearest of its parents that is there."""
    place = tree.place
    for part in key:
        if isinstance(tree, Table) and part in tree.entries:
            entry = tree.entries[str(part)]
            place, tree = entry.place, entry.value
        elif isinstance(tree, Sequence) and isinstance(part, int) and part < len(tree.items):
            tree = tree.items[part]
            place = tree.place
        else:
            break
    return place


def merge(base: Tree, top: Tree) -> Tree:
    """Lay one tree over another: mappings key by key, all else is replaced."""
    if not isinstance(base, Table) or not isinstance(top, Table):
        return top
    entries = dict(base.entries)
    for name, entry in top.entries.items():
        below = entries.get(name)
        entries[name] = entry if below is None else Entry(entry.place, merge(below.value, entry.value))
    return Table(top.place, entries)
