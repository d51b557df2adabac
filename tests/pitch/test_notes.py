import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.pitch.estimate import PitchEstimate
from mss_cli.pitch.midi import TICKS_PER_SECOND, midi_bytes, save_midi
from mss_cli.pitch.notes import Note, find_notes

HOP = 256 / 22050


def estimate(*voices):
    """An estimate of voices given as MIDI numbers per frame, None where silent."""
    semitones = np.array([[-1.0 if note is None else note for note in voice] for voice in voices], np.float32)
    frequencies = np.where(semitones < 0, 0, 440 * 2 ** ((semitones - 69) / 12)).astype(np.float32)
    confidences = np.where(frequencies > 0, 0.8, 0.1).astype(np.float32)
    return PitchEstimate(HOP, 0.4, frequencies, confidences, np.zeros((360, 1), np.float32), 1)


def numbers(notes):
    return [note.number for note in notes]


def frames(note):
    return round(note.start / HOP), round(note.end / HOP)


def played(data):
    """Read a MIDI file by the standard's words alone: (start, end, number, velocity) of each note, in seconds."""
    kind, length, form, tracks, division = struct.unpack(">4sIHHH", data[:14])
    assert (kind, length, form, tracks) == (b"MThd", 6, 0, 1)
    kind, length = struct.unpack(">4sI", data[14:22])
    assert kind == b"MTrk"
    assert length == len(data) - 22
    place, tick, tempo, on, notes, ended = 22, 0, 500_000, {}, [], False
    while place < len(data):
        delta = 0
        while True:
            byte = data[place]
            delta, place = delta << 7 | byte & 127, place + 1
            if byte < 128:
                break
        tick += delta
        status = data[place]
        if status == 0xFF:
            event, size = data[place + 1], data[place + 2]
            content = data[place + 3 : place + 3 + size]
            place += 3 + size
            if event == 0x51:
                tempo = int.from_bytes(content, "big")
            ended = event == 0x2F
            continue
        number, velocity = data[place + 1], data[place + 2]
        place += 3
        seconds = tick / division * tempo / 1e6
        if status == 0x90 and velocity:
            assert number not in on
            on[number] = seconds, velocity
        else:
            start, velocity = on.pop(number)
            notes.append((start, seconds, number, velocity))
    assert ended
    assert not on
    return sorted(notes)


def test_a_steady_pitch_is_one_note_as_long_as_it_sounds():
    [note] = find_notes(estimate([None] * 10 + [69.2] * 50 + [None] * 10))
    assert note.number == 69
    assert frames(note) == (10, 60)
    assert note.confidence == pytest.approx(0.8)


def test_vibrato_of_0_4_semitones_is_one_note():
    wave = 60.3 + 0.4 * np.sin(2 * np.pi * 5.5 * HOP * np.arange(100))
    assert numbers(find_notes(estimate(list(wave)))) == [60]


def test_a_step_of_a_semitone_begins_a_note():
    notes = find_notes(estimate([60.0] * 30 + [61.0] * 30))
    assert numbers(notes) == [60, 61]
    assert frames(notes[1]) == (30, 60)


def test_a_lost_frame_does_not_end_a_note_and_a_breath_does():
    assert numbers(find_notes(estimate([60.0] * 20 + [None] * 2 + [60.0] * 20))) == [60]
    assert numbers(find_notes(estimate([60.0] * 20 + [None] * 12 + [60.0] * 20))) == [60, 60]


def test_a_blip_is_no_note():
    assert find_notes(estimate([None] * 5 + [60.0] * 3 + [None] * 5)) == []


def test_voices_that_change_places_stay_two_notes():
    low, high = 55.0, 62.0
    first = [low] * 10 + [high] * 10 + [low] * 10
    second = [high] * 10 + [low] * 10 + [high] * 10
    notes = find_notes(estimate(first, second))
    assert [(note.number, *frames(note)) for note in notes] == [(55, 0, 30), (62, 0, 30)]


def test_silence_has_no_notes():
    assert find_notes(estimate([None] * 20)) == []
    assert played(midi_bytes([])) == []


def test_the_file_plays_the_notes(tmp_path):
    notes = [Note(0.5, 1.25, 60, 1.0), Note(0.75, 20.0, 67, 0.5), Note(1.25, 1.5, 60, 0.001)]
    save_midi(notes, tmp_path / "notes.mid")
    heard = played((tmp_path / "notes.mid").read_bytes())
    assert heard == [(0.5, 1.25, 60, 127), (0.75, 20.0, 67, 64), (1.25, 1.5, 60, 1)]


pitches = st.one_of(st.none(), st.floats(24, 96))


@given(voices=st.lists(st.lists(pitches, min_size=40, max_size=40), min_size=1, max_size=3))
def test_whatever_is_heard_can_be_played(voices):
    notes = find_notes(estimate(*voices))
    heard = played(midi_bytes(notes))
    assert len(heard) == len(notes)
    for note, (start, end, number, _) in zip(sorted(notes, key=lambda n: (n.start, n.number)), heard, strict=True):
        assert number == note.number
        assert start == pytest.approx(note.start, abs=0.5 / TICKS_PER_SECOND)
        assert end == pytest.approx(note.end, abs=0.5 / TICKS_PER_SECOND)
