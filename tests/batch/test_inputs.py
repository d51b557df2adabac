"""What counts as an input: folders, patterns, lists, exclusions, and trees made to confuse."""

import io
import os
import shutil
import tempfile
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.batch.inputs import find_inputs, read_list, read_list_file
from mss_cli.errors import InputError, UsageError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def relative(inputs):
    return [found.relative.as_posix() for found in inputs.files]


@pytest.fixture
def music(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "music"


def test_a_folder_gives_its_audio_sorted_and_nothing_else(music):
    make(music, "b/2.wav", "b/1.FLAC", "a.mp3", "B.ogg", "cover.jpg", "b/notes.txt", ".hidden.wav", ".git/x.wav")
    inputs = find_inputs([str(music)])
    assert relative(inputs) == ["B.ogg", "a.mp3", "b/1.FLAC", "b/2.wav"]
    assert {found.root for found in inputs.files} == {music}
    assert inputs.files[2].path == music / "b" / "1.FLAC"
    assert not inputs.troubles


def test_the_output_folder_and_those_of_other_runs_are_left_out(music):
    make(music, "a.wav", "stems/a/vocals.wav", "older/.mss-cli/lock.json", "older/a/vocals.wav")
    assert relative(find_inputs(["music"], output=Path("music/stems"))) == ["a.wav"]


def test_a_folder_that_is_its_own_output_is_refused(music):
    make(music, "a.wav")
    with pytest.raises(UsageError, match="both input and output"):
        find_inputs(["music"], output=Path("music/../music"))


def test_stems_of_an_older_run_may_be_named(music):
    make(music, ".mss-cli/lock.json", "a/vocals.wav")
    assert relative(find_inputs(["music"])) == ["a/vocals.wav"]


def test_named_files_are_taken_as_they_are(music):
    make(music, "clip.mp4", "odd.xyz", ".hidden.wav")
    inputs = find_inputs(["music/odd.xyz", "music/missing.wav", "-", "music/.hidden.wav", "music/clip.mp4"])
    assert relative(inputs) == ["odd.xyz", "missing.wav", "-", ".hidden.wav", "clip.mp4"]
    assert {found.root for found in inputs.files} == {None}


def test_nothing_is_found_twice(music):
    make(music, "a.wav", "b/c.wav")
    inputs = find_inputs(["music/a.wav", "music", "music/b", "music/./b/c.wav", str(music / "a.wav")])
    assert [str(found.path) for found in inputs.files] == ["music/a.wav", "music/b/c.wav"]


def test_the_file_called_minus_is_not_stdin(music):
    make(music.parent, "-")
    inputs = find_inputs(["./-", "-"])
    assert [found.path for found in inputs.files] == [music.parent / "-", Path("-")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("music/*.wav", ["a.wav", "b[1].wav"]),
        ("music/*", ["a.wav", "b[1].wav", "x/c.wav", "x/y/d.flac"]),
        ("music/**/*.wav", ["a.wav", "b[1].wav", "x/c.wav"]),
        ("music/**", ["a.wav", "b[1].wav", "x/c.wav", "x/y/d.flac"]),
        ("m*c/**/d.*", ["music/x/y/d.flac"]),
        ("music/x/?.*", ["c.wav"]),
        ("music/*.txt", ["n.txt"]),
        ("music/b[1].wav", ["b[1].wav"]),
        ("music/[!a-z]*", []),
    ],
)
def test_patterns_match_like_those_of_a_shell(music, pattern, expected):
    make(music, "a.wav", "b[1].wav", "x/c.wav", "x/y/d.flac", "n.txt", ".h.wav")
    inputs = find_inputs([pattern])
    assert relative(inputs) == expected
    assert bool(inputs.troubles) == (not expected)


def test_a_pattern_without_a_match_is_named():
    inputs = find_inputs(["no-such-folder/*.wav"])
    assert str(inputs.troubles[0]) == "no-such-folder/*.wav: no file matches; check the pattern"


def test_names_in_a_list_are_no_patterns(music):
    make(music, "a.wav")
    assert relative(find_inputs([], listed=["music/*.wav"])) == ["*.wav"]


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["*.mp3"], ["b/a.wav", "b/live/c.wav"]),
        (["live"], ["a.mp3", "b/a.wav"]),
        (["live/"], ["a.mp3", "b/a.wav"]),
        (["b/*"], ["a.mp3"]),
        (["b/a.*", "a.mp3"], ["b/live/c.wav"]),
        (["A.mp3"], ["a.mp3", "b/a.wav", "b/live/c.wav"]),
    ],
)
def test_exclusions_meet_names_or_whole_paths(music, exclude, expected):
    make(music, "a.mp3", "b/a.wav", "b/live/c.wav")
    assert relative(find_inputs(["music"], exclude=exclude)) == expected
    assert relative(find_inputs(["music/*"], exclude=exclude)) == expected


def test_exclusions_hold_for_named_files_too(music):
    make(music, "a.mp3", "b.wav")
    assert relative(find_inputs(["music/a.mp3", "music/b.wav"], exclude=["*.mp3"])) == ["b.wav"]


def test_loops_of_links_end_and_each_real_folder_is_read_once(music):
    make(music, "z/a.wav")
    (music / "z" / "up").symlink_to(music, target_is_directory=True)
    (music / "z" / "again").symlink_to(music, target_is_directory=True)
    (music / "a-link").symlink_to(music / "z", target_is_directory=True)
    (music / "self").symlink_to(music / "self")
    assert relative(find_inputs(["music"])) == ["z/a.wav"]
    assert relative(find_inputs(["music/**/*.wav"])) == ["z/a.wav"]


def test_links_to_folders_elsewhere_are_followed(music):
    make(music.parent, "disk/x/a.wav")
    make(music, "b.wav")
    (music / "more").symlink_to(music.parent / "disk", target_is_directory=True)
    assert relative(find_inputs(["music"])) == ["b.wav", "more/x/a.wav"]


def test_links_that_lead_nowhere_are_kept_to_be_reported(music):
    music.mkdir()
    (music / "a.wav").symlink_to("gone.wav")
    assert relative(find_inputs(["music"])) == ["a.wav"]


def test_pipes_in_a_folder_are_no_inputs(music):
    make(music, "b.wav")
    os.mkfifo(music / "a.wav")
    assert relative(find_inputs(["music"])) == ["b.wav"]


def test_an_empty_folder_is_told(music):
    make(music, "readme.txt")
    assert find_inputs(["music"]).empty == (Path("music"),)


def test_a_folder_too_deep_to_be_read_does_not_hide_the_others(music):
    make(music, "a.wav", "z/b.wav")
    here = os.open(music, os.O_RDONLY)
    for _ in range(25):  # beyond the 4096 bytes a path may have
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    inputs = find_inputs(["music"])
    assert relative(inputs) == ["a.wav", "z/b.wav"]
    assert [trouble.message for trouble in inputs.troubles] == ["cannot read: file name too long"]
    shutil.rmtree(music)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_a_folder_without_permission_is_reported_by_name():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        make(folder, "good/a.wav", "closed/b.wav")
        (folder / "closed").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            inputs = find_inputs([name])
        finally:
            os.seteuid(user)
            (folder / "closed").chmod(0o755)
    assert relative(inputs) == ["good/a.wav"]
    assert [str(trouble) for trouble in inputs.troubles] == [
        f"{folder / 'closed'}: permission denied; make it readable with `chmod u+r`"
    ]


AWKWARD = [b"caf\xe9.wav", b"new\nline.wav", b" space .wav", b"[live].wav", b"-x.wav", b"'\".wav", b"n" * 251 + b".wav"]


def test_awkward_names_are_found_whole(music):
    music.mkdir()
    for name in AWKWARD:
        (music / os.fsdecode(name)).write_bytes(b"x")
    assert [os.fsencode(found.relative) for found in find_inputs(["music"]).files] == sorted(AWKWARD)


NAMES = st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name), max_size=5)


@given(NAMES)
def test_any_names_come_back_from_a_list_with_nul(names):
    content = b"".join(name + b"\0" for name in names)
    expected = tuple(map(os.fsdecode, names))
    assert read_list(io.BytesIO(content), null=True) == expected
    if names:
        assert read_list(io.BytesIO(content)) == expected


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.wav\nb c.wav\n", ("a.wav", "b c.wav")),
        (b"a.wav\n\nb.wav", ("a.wav", "b.wav")),
        (b"a.wav\r\nb.wav\r\n", ("a.wav", "b.wav")),
        (b"a.wav\r\nb.wav\n", ("a.wav\r", "b.wav")),
        (b"\xef\xbb\xbfa.wav\n", ("a.wav",)),
        (b"#a.wav\n *.wav \n", ("#a.wav", " *.wav ")),
        (b"a\nb.wav\0c.wav", ("a\nb.wav", "c.wav")),
        (b"", ()),
    ],
)
def test_lists_of_lines(content, names):
    assert read_list(io.BytesIO(content)) == names


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"list\.txt: no such file"):
        read_list_file(tmp_path / "list.txt")


def test_what_was_found_in_a_folder_knows_its_way(music):
    make(music, "a/b.wav")
    assert find_inputs(["music/a/.."]).files[0].relative == PurePath("a/b.wav")
