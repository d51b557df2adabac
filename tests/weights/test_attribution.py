"""The list of those whose recordings a model learned from, read from a pack and its table of attributions."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HEAD = "file,split,class,source,kind,licence\n"
TABLE = """\
| repository (commit) | author | licence | stated in | used for | changed |
|---|---|---|---|---|---|
| a/kits (0123456789ab) | Ann | CC-BY-4.0 | LICENSE | drums/kit_*, shaker (valid), eval-v1 | cut |
| b/all (folder x) (abcdef012345) | Bob; Bea | CC0-1.0, MIT | README | bass/low and high, other/bell (two) | cut |
| c/songs (99aa99aa99aa) | Cid | **SA** CC-BY-SA-4.0 | README | vocals/cid | cut |
"""
ROWS = (
    ("train", "drums", "kit_one", "CC-BY-4.0"),
    ("valid", "drums", "shaker", "CC-BY-4.0"),
    ("train", "bass", "low", "CC0-1.0"),
    ("train", "bass", "high", "MIT"),
    ("train", "other", "bell", "CC0-1.0"),
    ("train", "vocals", "cid", "CC-BY-SA-4.0"),
)


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("default_attribution", BENCHMARKS / "default_attribution.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    yield loaded
    del sys.modules[spec.name]


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    write_index(folder, ROWS)
    (tmp_path / "ATTRIBUTION.md").write_text(TABLE)
    return folder


def write_index(folder, rows):
    lines = [
        f"{split}/{stem}/{name}/notes.ogg,{split},{stem},{name},notes,{licence}" for split, stem, name, licence in rows
    ]
    (folder / "index.csv").write_text(HEAD + "\n".join(lines) + "\n")


def test_each_origin_is_named_with_what_was_used_of_it(module, pack):
    kits, several = module.attributions_of(pack, "train")
    assert (kits.sources, kits.author, kits.licence) == (("drums/kit_one",), "Ann", "CC-BY-4.0")
    assert kits.address == "https://github.com/a/kits/tree/0123456789ab"
    assert several.sources == ("bass/high", "bass/low", "other/bell")
    assert several.licence == "CC0-1.0, MIT"
    assert several.address == "https://github.com/b/all/tree/abcdef012345"


def test_a_line_says_who_where_and_under_what(module, pack):
    line = module.attributions_of(pack, "train")[0].line
    assert line == (
        "drums/kit_one: Ann; https://github.com/a/kits/tree/0123456789ab; "
        "licence CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/); changed: cut"
    )


def test_share_alike_sources_are_in_no_list(module, pack):
    assert "vocals/cid" not in module.admitted(pack, "train")
    assert not any("Cid" in one.line for one in module.attributions_of(pack, "train"))


def test_a_source_of_nobody_stops_everything(module, pack):
    write_index(pack, [*ROWS, ("train", "other", "stray", "CC0-1.0")])
    with pytest.raises(SystemExit, match="nobody is named for other/stray"):
        module.attributions_of(pack, "train")


def test_a_name_of_another_stem_is_not_taken_for_a_source(module, pack):
    write_index(pack, [*ROWS, ("train", "bass", "bell", "CC0-1.0")])
    with pytest.raises(SystemExit, match="nobody is named for bass/bell"):
        module.attributions_of(pack, "train")


def test_the_notice_names_everybody_and_links_the_licences(module, pack):
    text = module.notice("some", "CC-BY-4.0", module.attributions_of(pack, "train"))
    for words in ("Ann", "Bob; Bea", "https://creativecommons.org/licenses/by/4.0/", "github.com/b/all", "MIT"):
        assert words in text


def test_a_listing_of_another_pack_is_refused(module, pack):
    index = hashlib.sha256((pack / "index.csv").read_bytes()).hexdigest()
    listing = pack.parent / "SHA256SUMS"
    listing.write_text(f"{index}  pack/index.csv\n")
    assert module.listing_hash(pack) == hashlib.sha256(listing.read_bytes()).hexdigest()
    listing.write_text(f"{'0' * 64}  pack/index.csv\n")
    with pytest.raises(SystemExit, match="is not of this"):
        module.listing_hash(pack)
