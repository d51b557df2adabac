import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.errors import UsageError
from mss_cli.separation.names import DEFAULT_TEMPLATE, Naming, check_template

OUT = Path("out")


def targets(source, template=DEFAULT_TEMPLATE, stems=("vocals", "bass"), extension="wav"):
    return Naming(OUT, template, "classical").targets(Path(source), stems, extension)


def test_each_track_gets_a_folder_of_stems():
    assert targets("music/take5.mp3") == (OUT / "take5" / "vocals.wav", OUT / "take5" / "bass.wav")


def test_the_layout_of_demucs_is_one_template_away():
    assert targets("a/take5.mp3", "{model}/{track}/{stem}.{ext}")[0] == OUT / "classical/take5/vocals.wav"


def test_all_fields_are_filled():
    template = "{dir}-{stem_index}-{track}-{model}-{stem}.{ext}"
    assert targets("a/b/c.wav", template)[1] == OUT / "b-2-c-classical-bass.wav"


def test_a_stem_file_loses_its_whole_extension():
    assert targets("a/song.stem.mp4")[0] == OUT / "song" / "vocals.wav"


def test_stdin_has_a_name():
    assert targets("-")[0] == OUT / "stdin" / "vocals.wav"


@given(name=st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=90))
def test_no_name_leaves_the_output_folder(name):
    for path in targets(Path("in") / name, "{dir}/{track}/{stem}.{ext}"):
        inside = Path(os.path.normpath(path))
        assert inside.is_relative_to(OUT)
        assert len(inside.parts) == 4
        assert all(len(os.fsencode(part)) <= 255 - 16 for part in path.parts)


def test_bytes_that_are_no_text_survive():
    name = os.fsdecode(b"caf\xe9.wav")
    assert os.fsencode(targets(name)[0]) == b"out/caf\xe9/vocals.wav"


def test_a_name_that_is_too_long_is_cut_at_a_character():
    path = targets("ü" * 140 + ".wav", "{track}.{stem}.{ext}")[0]
    assert path.name == "ü" * 114 + ".vocals.wav"


@pytest.mark.parametrize(
    "template",
    [
        "../{stem}.{ext}",
        "/tmp/{stem}",
        "a/../../{stem}",
        "",
        "{stem}/",
        "..\\{stem}",
        "{stem",
        "{pid}",
        "{stem!r}",
        "{stem:>9}",
    ],
)
def test_templates_that_leave_the_folder_or_name_unknown_fields_are_refused(template):
    with pytest.raises(UsageError, match="--filename"):
        check_template(template)


def test_a_template_without_the_stem_is_refused():
    with pytest.raises(UsageError, match="gives two stems one name; put `{stem}` into it"):
        targets("a.wav", "{track}.{ext}")


def test_temporary_names_of_long_names_stay_apart():
    from mss_cli.files import temporary_name

    names = [Path("x" * 243 + f"{stem}.wav") for stem in ("vocals", "drums")]
    assert len({temporary_name(name) for name in names}) == 2
    assert all(len(temporary_name(name).name) <= 255 for name in names)
