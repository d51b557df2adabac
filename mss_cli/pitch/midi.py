"""Notes as a standard MIDI file."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from mss_cli.files import output_error
from mss_cli.pitch.notes import Note

TICKS_PER_SECOND = 960  # 480 to a quarter note at 120 beats a minute
_QUARTER_TICKS = 480
_QUARTER_MICROSECONDS = 500_000
_NOTE_ON, _NOTE_OFF = 0x90, 0x80


def midi_bytes(notes: Sequence[Note]) -> bytes:
    """Give a standard MIDI file of format 0: one track, one channel, 120 beats a minute.

    Parameters
    ----------
    notes : sequence of Note
        No two of one number at a time. Confidence 1 becomes velocity 127.

    References
    ----------
    MIDI Manufacturers Association, "Standard MIDI Files 1.0", RP-001.
    """
    messages: list[tuple[int, int, int, int]] = []  # (tick, status, number, velocity): ends sort before starts
    for note in notes:
        start = round(note.start * TICKS_PER_SECOND)
        end = max(start + 1, round(note.end * TICKS_PER_SECOND))
        velocity = max(1, min(127, round(127 * note.confidence)))
        messages += [(start, _NOTE_ON, note.number, velocity), (end, _NOTE_OFF, note.number, 0)]
    body = b"\x00\xff\x51\x03" + _QUARTER_MICROSECONDS.to_bytes(3, "big")
    now = 0
    for tick, status, number, velocity in sorted(messages):
        body += _variable_length(tick - now) + bytes((status, number, velocity))
        now = tick
    body += b"\x00\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _QUARTER_TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(body)) + body


def save_midi(notes: Sequence[Note], target: Path) -> None:
    """Write a standard MIDI file.

    Parameters
    ----------
    notes : sequence of Note
    target : Path
        Exactly this name is written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        with target.open("wb") as file:
            file.write(midi_bytes(notes))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise output_error(target, error) from error


def _variable_length(value: int) -> bytes:
    """Seven bits to a byte, the highest first; all but the last have their top bit set."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | (value & 0x7F))
    return bytes(reversed(groups))
