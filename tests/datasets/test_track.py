import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_songs import stems, write
from mss_cli.datasets.rounding import to_sixteen_bits
from mss_cli.datasets.track import Part, Signal, aligned, in_order
from mss_cli.errors import InputError


def cut(samples, cuts):
    edges = [0, *sorted(place % (samples.shape[1] + 1) for place in cuts), samples.shape[1]]
    return iter([samples[:, a:b] for a, b in itertools.pairwise(edges) if b > a])


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
    until=st.sampled_from(["shortest", "longest"]),
)
def test_signals_stay_aligned_however_they_are_cut(lengths, cuts, until):
    signals = [np.arange(2 * length, dtype=np.float32).reshape(2, length) + 1 for length in lengths]
    parts = list(aligned([cut(s, [c * (i + 1) for c in cuts]) for i, s in enumerate(signals)], until=until))
    together = np.concatenate(parts, axis=-1)
    end = min(lengths) if until == "shortest" else max(lengths)
    assert together.shape == (len(lengths), 2, end)
    for row, signal in zip(together, signals, strict=True):
        kept = min(end, signal.shape[1])
        np.testing.assert_array_equal(row[:, :kept], signal[:, :kept])
        assert not row[:, kept:].any()


def test_a_sum_of_parts_has_gains_and_ends_with_the_longest(tmp_path):
    made = stems(seconds=0.1)
    write(tmp_path / "a.wav", made["vocals"])
    write(tmp_path / "b.wav", made["bass"][:, :2000])
    signal = Signal((Part(tmp_path / "a.wav", gain=0.5), Part(tmp_path / "b.wav", gain=2.0)))
    expected = 0.5 * made["vocals"]
    expected[:, :2000] += 2 * made["bass"][:, :2000]
    assert signal.form() == (44100, 2)
    np.testing.assert_allclose(np.concatenate(list(signal.blocks()), axis=1), expected, atol=1e-7)


def test_parts_of_two_forms_are_refused_by_name(tmp_path):
    made = stems(seconds=0.1)
    write(tmp_path / "a.wav", made["vocals"])
    write(tmp_path / "b.wav", made["bass"], rate=22050)
    with pytest.raises(InputError, match=r"b\.wav: 2 channels at 22050 Hz, but a\.wav has 2 at 44100 Hz"):
        Signal((Part(tmp_path / "a.wav"), Part(tmp_path / "b.wav"))).form()


def test_one_channel_of_a_file_is_mono_and_a_missing_one_is_refused(tmp_path):
    made = stems(seconds=0.1)
    write(tmp_path / "a.wav", made["other"])
    right = np.concatenate(list(Part(tmp_path / "a.wav", channel=1).blocks()), axis=1)
    np.testing.assert_array_equal(right, made["other"][1:])
    write(tmp_path / "mono.wav", made["other"][:1])
    with pytest.raises(InputError, match="has 1 channels, not 2"):
        Part(tmp_path / "mono.wav", channel=1).form()


def test_sixteen_bits_round_to_the_nearest_step_and_clip():
    steps = np.array([[0.4, 0.6, -0.6, 1.5, 40000, -40000]], np.float32) / 32768
    np.testing.assert_array_equal(to_sixteen_bits(steps) * 32768, [[0, 1, -1, 2, 32767, -32768]])


def test_only_lossy_references_are_rounded(tmp_path):
    made = stems(seconds=0.3)["vocals"] / 3
    write(tmp_path / "a.wav", made, subtype="FLOAT")
    write(tmp_path / "a.ogg", made, subtype="VORBIS")
    exact = np.concatenate(list(Part(tmp_path / "a.wav", sixteen_bits=True).blocks()), axis=1)
    np.testing.assert_array_equal(exact, made)
    rounded = np.concatenate(list(Part(tmp_path / "a.ogg", sixteen_bits=True).blocks()), axis=1)
    plain = np.concatenate(list(Part(tmp_path / "a.ogg").blocks()), axis=1)
    np.testing.assert_array_equal(rounded * 32768, np.rint(plain * 32768))
    assert (rounded != plain).any()


def test_stems_stand_in_the_order_of_tables():
    names = ("accompaniment", "piano", "other", "vocals", "guitar", "bass", "drums")
    assert in_order(names) == ("vocals", "drums", "bass", "other", "guitar", "piano", "accompaniment")
