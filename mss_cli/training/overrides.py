"""Single values of a recipe from the command line: `--set data.train.0.root=songs`."""

from dataclasses import replace

from mss_cli.training.recipe_errors import Key, Mistake, Place, dotted
from mss_cli.training.yaml_tree import Entry, Scalar, Sequence, Table, Tree, parse

_FORM = "write `--set key.path=value`, as in `--set training.steps=100`"


def apply_override(tree: Tree, text: str) -> tuple[Tree, list[Mistake]]:
    """Replace one value of a recipe.

    Parameters
    ----------
    tree : Tree
        The recipe.
    text : str
        `key.path=value`: keys and list indices (from 0) joined by dots, then a value in YAML. A key that is not there
        is made, so that checking the recipe can tell whether it is allowed; a place in a list must be there.

    Returns
    -------
    tree : Tree
        A new one; the given one is not changed.
    mistakes : list of Mistake
        If it is not empty, the tree is the given one.
    """
    place = Place(override_origin(text))
    path, equals, value_text = text.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        return tree, [Mistake(place, (), f"not an assignment; {_FORM}")]
    if parts[0] == "extends":
        return tree, [Mistake(place, ("extends",), "cannot be set; copy the recipe and change it there")]
    value, mistakes = parse(value_text, lambda line, column: place)
    if mistakes:
        return tree, [replace(mistake, key=(*parts, *mistake.key)) for mistake in mistakes]
    try:
        return _put(tree, parts, value, place=place, above=()), []
    except _NoPlaceError as error:
        return tree, [error.mistake]


def override_origin(text: str) -> str:
    """Name an override in messages as it was typed."""
    return f"--set {text}"


class _NoPlaceError(Exception):
    """Carry why a value cannot be put where it should go."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def _put(tree: Tree, parts: list[str], value: Tree, *, place: Place, above: Key) -> Tree:
    """Give a tree in which the value stands under `parts`."""
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    key = (*above, part)
    match tree:
        case Table():
            old = tree.entries.get(part, Entry(place, Scalar(place, None)))
            new = _put(old.value, rest, value, place=place, above=key)
            return Table(tree.place, {**tree.entries, part: Entry(old.place if rest else place, new)})
        case Sequence():
            if not part.isdecimal() or int(part) >= len(tree.items):
                allowed = f"0 to {len(tree.items) - 1}" if tree.items else "none, the list is empty"
                raise _NoPlaceError(Mistake(place, key, f"no such place in the list; allowed: {allowed}"))
            number = int(part)
            items = list(tree.items)
            items[number] = _put(items[number], rest, value, place=place, above=(*above, number))
            return Sequence(tree.place, tuple(items))
        case Scalar(value=None):
            return Table(place, {part: Entry(place, _put(Scalar(place, None), rest, value, place=place, above=key))})
        case Scalar():
            raise _NoPlaceError(Mistake(place, key, f"`{dotted(above)}` is the value `{tree.value}` and has no keys"))
