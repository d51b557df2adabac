import numpy as np
import pytest

from mss_cli.datasets.player.kits import piece_of
from mss_cli.datasets.player.pack import key_of, open_pack, refusal_reason, tempo_of
from mss_cli.errors import DatasetError
from sample_packs import write_pack


def test_share_alike_sources_are_refused_by_name(tmp_path):
    pack = open_pack(write_pack(tmp_path))
    assert [(refusal.name, refusal.reason) for refusal in pack.refused] == [
        ("bought", "the licence is not known to allow every use"),
        ("shared singer", "share-alike"),
    ]
    assert "shared singer" not in [source.name for source in pack.sources]


def test_share_alike_sources_are_played_when_allowed_but_never_non_commercial_ones(tmp_path):
    pack = open_pack(write_pack(tmp_path), share_alike=True)
    assert "shared singer" in [source.name for source in pack.sources]
    assert [refusal.name for refusal in pack.refused] == ["bought"]


@pytest.mark.parametrize(
    ("licence", "reason"),
    [
        ("CC0-1.0", None),
        ("public domain", None),
        ("CC BY 3.0", None),
        ("CC-BY", None),
        ("MIT", None),
        ("free for any use (readme)", None),
        ("CC-BY-SA-3.0", "share-alike"),
        ("CC BY-NC-SA 4.0", "the licence is not known to allow every use"),
        ("CC-BY-ND-4.0", "the licence is not known to allow every use"),
        ("", "the licence is not known to allow every use"),
        ("all rights reserved", "the licence is not known to allow every use"),
    ],
)
def test_licences(licence, reason):
    assert refusal_reason(licence, share_alike=False) == reason


def test_a_broken_file_is_skipped_counted_and_told_of_once(tmp_path):
    root = write_pack(tmp_path)
    (root / "train/other/keys/notes.wav").write_bytes(b"no audio")
    told = []
    pack = open_pack(root, listener=told.append)
    assert [broken.path.as_posix() for broken in told] == ["train/other/keys/notes.wav"]
    assert pack.broken == tuple(told)
    assert not pack.of_stem("other")


def test_a_file_that_breaks_later_is_a_short_silence_and_is_told_of_once(tmp_path):
    root, told = write_pack(tmp_path), []
    pack = open_pack(root, listener=told.append)
    (root / "train/other/keys/notes.wav").write_bytes(b"no audio")
    for item in pack.of_stem("other")[0].items:
        assert not pack.audio(item).any()
    assert len(told) == len(pack.broken) == 1


def test_samples_are_the_same_from_memory_from_little_memory_and_from_a_mapped_file(tmp_path):
    root = write_pack(tmp_path / "pack")
    packs = [open_pack(root), open_pack(root, memory_bytes=1), open_pack(root, cache=tmp_path / "cache")]
    for source in packs[0].sources:
        for item in source.items:
            sounds = [pack.audio(item) for pack in packs]
            np.testing.assert_array_equal(sounds[0], sounds[1])
            np.testing.assert_array_equal(sounds[0], sounds[2])
            assert sounds[0].any()


def test_a_split_folder_alone_is_a_pack(tmp_path):
    root = write_pack(tmp_path)
    assert open_pack(root / "train").sources == open_pack(root).sources


def test_a_split_without_sources_names_what_was_left_out(tmp_path):
    with pytest.raises(DatasetError, match="no sources of the split `valid`"):
        open_pack(write_pack(tmp_path), split="valid")


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"index\.csv"):
        open_pack(tmp_path)


@pytest.mark.parametrize(
    ("name", "key", "tempo"),
    [
        ("SHV - Fsharp minor - 122 BPM - Ah.wav", (6, True), 122),
        ("ETV Adlib - 019 - 136 BPM - Eb Major.wav", (3, False), 136),
        ("A Major 90bpm", (9, False), 90),
        ("sonnet, read", None, None),
    ],
)
def test_keys_and_tempi_are_read_from_names(name, key, tempo):
    assert (key_of(name), tempo_of(name)) == (key, tempo)


@pytest.mark.parametrize(
    ("label", "piece"),
    [
        ("ks", "kick"),
        ("KdrumL", "kick"),
        ("808-mini/hhclosed-1", "hat"),
        ("SabianRockHatSemiOpen", "open"),
        ("Sidestick2", "rim"),
        ("HandClap", "clap"),
        ("PearlSnareEdge", "snare"),
        ("ZildjianA24RideBell", "ride"),
        ("China", "crash"),
        ("tabla_na", "percussion"),
        ("ht", "hat"),
    ],
)
def test_pieces_of_kits_are_read_from_labels(label, piece):
    assert piece_of(label) == piece


def test_ht_is_a_high_tom_beside_a_middle_tom():
    assert piece_of("ht", beside=frozenset({"ht", "mt", "lt"})) == "tom"
