"""Names of outputs: folders mirrored, collisions resolved or refused, shares of the plan."""

import os
import unicodedata
from pathlib import Path, PurePath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mss_cli.batch.inputs import Found, find_inputs
from mss_cli.batch.plan import Layout, NameCollision, folded, make_plan
from mss_cli.batch.sharding import Shard, parse_shard
from mss_cli.errors import ExitCode, OutputError, UsageError
from mss_cli.separation.names import DEFAULT_TEMPLATE, Naming

OUT = Path("out")
STEMS = ("vocals", "bass")


def layout(template=DEFAULT_TEMPLATE):
    naming = Naming(OUT, template, "classical")
    return Layout(naming, lambda path: naming.targets(path, STEMS, "wav"))


def named(*paths):
    return [Found(Path(path), None, PurePath(Path(path).name)) for path in paths]


def below(root, *relatives):
    return [Found(Path(root) / way, Path(root), PurePath(way)) for way in relatives]


def vocals(files, template=DEFAULT_TEMPLATE):
    return [job.outputs[0].relative_to(OUT).as_posix() for job in make_plan(files, layout(template)).jobs]


def test_a_named_file_has_no_folder():
    assert vocals(named("a/b/x.wav", "c/y.mp3")) == ["x/vocals.wav", "y/vocals.wav"]


def test_a_folder_is_mirrored():
    assert vocals(below("in", "x.wav", "a/x.wav", "a/b/x.wav")) == [
        "x/vocals.wav",
        "a/x/vocals.wav",
        "a/b/x/vocals.wav",
    ]


def test_the_mirror_stands_before_the_track():
    template = "{model}/{track}/{stem}.{ext}"
    assert vocals(below("in", "a/x.wav"), template) == ["classical/a/x/vocals.wav"]
    assert vocals(below("in", "a/x.wav"), "{model}/{track}-{stem}.{ext}") == ["classical/a/x-vocals.wav"]
    assert vocals(below("in", "a/{track}.wav"), "{stem}/{track}.{ext}") == ["vocals/a/{track}.wav"]


def test_several_folders_keep_their_way_from_the_one_that_holds_them():
    files = [*below("in/one", "x.wav"), *below("in/two", "a/x.wav")]
    assert vocals(files) == ["one/x/vocals.wav", "two/a/x/vocals.wav"]


def test_a_place_does_not_depend_on_what_else_is_found():
    alone = vocals(below("in", "a/x.wav"))
    assert vocals(below("in", "a/x.wav", "b/x.wav"))[:1] == alone


def test_named_files_that_collide_get_folders_and_the_others_do_not():
    assert vocals(named("a/x.wav", "b/x.mp3", "a/y.wav", "x.wav")) == [
        "a/x/vocals.wav",
        "b/x/vocals.wav",
        "y/vocals.wav",
        "x/vocals.wav",
    ]


@pytest.mark.parametrize(
    "files",
    [
        named("a/x.wav", "a/x.mp3"),
        below("in", "x.wav", "x.mp3"),
        below("in", "x.wav", "X.wav"),
        below("in", "A/x.wav", "a/x.wav"),
        below("in", "caf\u00e9.wav", "cafe\u0301.wav"),
        below("in", "stra\u00dfe.wav", "STRASSE.wav"),
        named("in/x.wav") + below("in", "x.mp3"),
    ],
    ids=ascii,
)
def test_what_cannot_be_told_apart_is_refused_with_both_names(files):
    with pytest.raises(NameCollision) as caught:
        make_plan(files, layout())
    assert all(str(found.path) in str(caught.value) for found in files)
    assert caught.value.code == ExitCode.OUTPUT


def test_all_collisions_are_told_at_once():
    files = below("in", *(f"{number}.{ext}" for number in range(30) for ext in ("wav", "mp3")))
    with pytest.raises(NameCollision) as caught:
        make_plan(files, layout())
    assert len(caught.value.lines) == 21
    assert caught.value.lines[-1] == "and 10 more"


def test_a_file_where_another_track_needs_a_folder_is_refused():
    with pytest.raises(NameCollision):
        make_plan(below("in", "x.wav", "x/vocals.wav.mp3"), layout())


def test_an_output_over_an_input_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="would replace this input"):
        make_plan(named("a.wav", "out/a/vocals.wav"), layout())


@pytest.mark.parametrize(
    ("template", "record"),
    [
        (DEFAULT_TEMPLATE, "out/a/x/x.mss.json"),
        ("{track}-{stem}.{ext}", "out/a/x.mss.json"),
        ("{model}/{track}/{stem}.{ext}", "out/classical/a/x/x.mss.json"),
        ("{stem}/{track}.{ext}", "out/x.mss.json"),
    ],
)
def test_the_record_lies_beside_the_stems(template, record):
    if template.startswith("{stem}"):  # stems in folders of their own: beside these folders
        assert make_plan(named("x.wav"), layout(template)).jobs[0].record == Path(record)
        return
    assert make_plan(below("in", "a/x.wav"), layout(template)).jobs[0].record == Path(record)


PARTS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60)
WAYS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map(lambda p: PurePath(*p))


@given(
    ways=st.lists(WAYS, min_size=1, max_size=6, unique=True),
    template=st.sampled_from([DEFAULT_TEMPLATE, "{stem}_{track}"]),
)
def test_every_plan_stays_inside_and_no_two_names_are_alike(ways, template):
    files = [Found(Path("in") / way, Path("in"), way) for way in ways]
    try:
        jobs = make_plan(files, layout(template)).jobs
    except NameCollision:
        assume(False)
    names = [path for job in jobs for path in (*job.outputs, job.record)]
    assert len({unicodedata.normalize("NFC", str(path).lower()) for path in names}) == len(names)
    for path in names:
        assert Path(os.path.normpath(path)).is_relative_to(OUT)
        assert len(os.fsencode(path.name)) <= 255


@given(PARTS)
def test_folding_again_changes_nothing_and_form_does_not_matter(text):
    once = folded(PurePath(text))
    assert folded(PurePath(unicodedata.normalize("NFD", text))) == once
    assert folded(PurePath(once)) == once


def test_names_that_are_no_text_and_long_ones_are_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in" / os.fsdecode(b"\xff\n")
    folder.mkdir(parents=True)
    for name in (b"caf\xe9.wav", b"n" * 251 + b".wav"):
        (folder / os.fsdecode(name)).write_bytes(b"x")
    jobs = make_plan(find_inputs(["in"]).files, layout()).jobs
    assert [os.fsencode(job.key) for job in jobs] == [b"\xff\n/caf\xe9.wav", b"\xff\n/" + b"n" * 251 + b".wav"]
    assert all(len(os.fsencode(part)) <= 239 for job in jobs for part in job.record.parts)


@given(keys=st.lists(PARTS, max_size=20), count=st.integers(1, 9))
def test_every_track_is_in_exactly_one_share(keys, count):
    for key in keys:
        assert sum(Shard(index, count).holds(key) for index in range(1, count + 1)) == 1


def test_shares_are_those_worked_out_by_hand():
    # The first 16 hex digits of what another program computes, modulo the count, plus 1.
    import subprocess

    digits = subprocess.run(["sha256sum"], input=b"a/x.wav", capture_output=True, check=True).stdout[:16]
    assert Shard(int(digits, 16) % 4 + 1, 4).holds("a/x.wav")


def test_shares_hold_about_as_many_tracks_each():
    sizes = [sum(Shard(index, 8).holds(f"{n}/song.flac") for n in range(8000)) for index in range(1, 9)]
    assert all(850 < size < 1150 for size in sizes)  # five standard deviations of a fair draw


def test_a_share_of_a_plan_keeps_names_and_order():
    plan = make_plan(below("in", *(f"{n}.wav" for n in range(40))), layout())
    shares = [plan.shard(Shard(index, 3)).jobs for index in (1, 2, 3)]
    assert sorted((job for share in shares for job in share), key=plan.jobs.index) == list(plan.jobs)
    assert plan.shard(None) is plan


def test_the_unicode_form_of_a_name_does_not_move_it_to_another_share():
    assert [n for n in range(1, 100) if Shard(1, 9).holds(f"caf\u00e9{n}")] == [
        n for n in range(1, 100) if Shard(1, 9).holds(f"cafe\u0301{n}")
    ]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", "1 /4", "٣/4", ""])
def test_shares_that_do_not_exist_are_refused(text):
    with pytest.raises(UsageError, match="names no share"):
        parse_shard(text)


def test_a_share_is_read_as_written():
    assert parse_shard("3/8") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"
