import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from mss_cli.training import recipe
from mss_cli.training.recipe_file import read_recipe
from mss_cli.training.recipe_words import annotation_of, describe
from mss_models.augmentation.chain import STEPS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
SECTIONS = {
    "The recipe": recipe.Recipe,
    "`network`": recipe.Network,
    "`data`": recipe.Data,
    "A source of songs": recipe.SongSource,
    "A folder per stem": recipe.ClassSource,
    "Mixture and instrumental": recipe.PairSource,
    "Note sample packs": recipe.NoteSource,
    "`mixing`": recipe.Mixing,
    "`augmentation`": recipe.Augmentation,
    "A step of `augmentation`": recipe.Step,
    "A term of `loss`": recipe.LossTerm,
    "`teacher`": recipe.Teacher,
    "`optimizer`": recipe.Optimizer,
    "`training`": recipe.Training,
}


def rows(title):
    """Cells of the table under a heading."""
    part = re.search(rf"^### {re.escape(title)}.*?\n(.*?)(?=^#|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert part is not None, title
    lines = [line for line in part[1].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def plain(default):
    if isinstance(default, tuple):
        return [plain(item) for item in default]
    return default


@pytest.mark.parametrize("title", SECTIONS)
def test_the_reference_has_every_key_with_what_is_allowed_and_its_default(title):
    table = rows(title)
    fields = SECTIONS[title].model_fields
    assert [row[0].strip("`") for row in table] == list(fields)
    for (_, allowed, default, _), field in zip(table, fields.values(), strict=True):
        assert allowed == describe(annotation_of(field))
        if field.is_required():
            assert default == "required"
        elif isinstance(field.default, recipe.Section):
            assert default == "all defaults"
        else:
            assert yaml.safe_load(default.strip("`")) == plain(field.default)


def test_the_reference_has_every_step_of_augmentation_with_its_settings():
    table = rows("Steps of augmentation")
    assert [row[0].strip("`") for row in table] == list(STEPS)
    for (_, _, settings), step in zip(table, STEPS.values(), strict=True):
        told = {
            name: value for text in re.findall(r"`(.*?)`", settings) for name, value in yaml.safe_load(text).items()
        }
        fields = {field.name: plain(field.default) for field in dataclasses.fields(step)}
        fields.pop("probability")
        assert told == fields


def test_the_reference_has_every_term_of_the_loss():
    terms = get_args(recipe.LossTerm.model_fields["term"].annotation)
    assert [row[0].strip("`") for row in rows("Terms of `loss`")] == list(terms)


def test_the_example_of_the_page_is_a_recipe(tmp_path):
    example = re.search(r"```yaml\n(name: .*?)```", PAGE, flags=re.DOTALL)
    assert example is not None
    path = tmp_path / "example.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert read_recipe(path).recipe.name == "my-vocals"


def test_the_example_of_extends_is_a_recipe(tmp_path):
    example = re.search(r"```yaml\nextends: (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert example is not None
    path = tmp_path / "example.yaml"
    path.write_text(f"extends: {ROOT / 'configs' / 'train' / example[1]}\n{example[2]}", encoding="utf-8")
    assert read_recipe(path).recipe.network.preset == "thesis-baseline"


@pytest.mark.parametrize("override", re.findall(r'^--set "?(.*?)"?(?: +#.*)?$', PAGE, flags=re.MULTILINE))
def test_every_override_of_the_page_can_be_set(override):
    name = "thesis6-noncomplex" if "each" in override else "unet2017-vocals"
    loaded = read_recipe(ROOT / "configs" / "train" / f"{name}.yaml", [override])  # raises if it is refused
    assert loaded.overrides == (override,)


def test_every_recipe_is_in_the_table_of_recipes_and_every_one_there_exists():
    table = (ROOT / "configs" / "README.md").read_text(encoding="utf-8").split("## Recipes")[1]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(.*?)`", cell)]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_override_in_the_head_of_a_recipe_can_be_set(path):
    head = re.sub(r"\n# ", " ", path.read_text(encoding="utf-8").split("\nname:")[0])
    overrides = [quoted or bare for quoted, bare in re.findall(r'--set (?:"(.*?)"|(\S+))', head)]
    if any(override == "teacher.kind=pyin" for override in overrides):  # two ways, one after the other
        first = overrides.index("teacher.kind=labels")
        assert read_recipe(path, overrides[:first]).recipe.teacher.kind == "pyin"
        labels = [override for override in overrides[first:] if ".root=" not in override]
        assert read_recipe(path, labels).recipe.teacher.kind == "labels"
        return
    assert read_recipe(path, overrides).overrides == tuple(overrides)
