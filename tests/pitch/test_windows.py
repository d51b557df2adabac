import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.pitch.windows import windows

HOP = 4


@given(
    samples=st.integers(0, 150),
    piece=st.integers(1, 7),
    context=st.integers(0, 9),
    cuts=st.lists(st.integers(0, 150), max_size=8),
)
def test_each_frame_is_wanted_once_and_sees_its_context(samples, piece, context, cuts):
    signal = np.arange(samples, dtype=np.float32)
    blocks = np.split(signal, sorted(min(cut, samples) for cut in cuts))
    frame = 0
    for window in windows(blocks, hop=HOP, piece=piece, context=context):
        start = (frame - window.before) * HOP
        assert window.before == min(context, frame)
        end = min(samples, (frame + window.frames + context) * HOP)
        np.testing.assert_array_equal(window.audio, signal[start:end])
        assert 1 <= window.frames <= piece
        frame += window.frames
    assert frame == 1 + samples // HOP
