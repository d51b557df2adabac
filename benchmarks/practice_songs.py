"""Practice songs: small scores played with the notes, hits and phrases of a folder like ``stems-v1``.

They stand in for records where the settings of a method are chosen, so that the songs it is judged on stay
unseen. Equal seeds give equal songs. Nothing here is needed to separate anything.
"""

import csv
import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 44100  # Hz, the rate of everything in the folder
STEMS = ("vocals", "drums", "bass", "other")
Audio = NDArray[np.float32]

# Pieces of each kit as patterns over the articulation column: kick, snare, closed hat, open hat or cymbal.
TRAIN_KITS = (
    ("gogodze2_front", "ks", "sc", "h[ct]", "ho"),
    ("gogodze2_retro", "ks", "sc", "h[ct]", "ho"),
    ("muldjordkit", "KdrumL", "Snare$", "HihatClosed", "HihatOpen|CrashL|RideR$"),
    ("machines_pd", "808-mini/kick", "808-mini/snare", "808-mini/hhclosed", "808-mini/hhopen"),
    ("machines_pd", "Casio-RZ1/kick", "Casio-RZ1/snare", "Casio-RZ1/hihat-c", "Casio-RZ1/(hihat-o|ride)"),
    ("machines_pd", "Seq.*Kick", "Seq.*Snare", "Seq.*Closed", "Seq.*Openhat"),
    (
        "sonicpi_kit",
        "bd_(haus|klub|tek|fat)|drum_bass_hard",
        "sn_|drum_snare_hard",
        "hat_(z|gem|raw)",
        "drum_cymbal_open",
    ),
    ("uzu_kit", "bd", "sd|cp", "hh", "oh|rd"),
)
VALID_KITS = (
    ("avl_black_pearl_red_zeppelin", ".*Kick", "PearlSnare", "SabianRockHatClosed", "SabianRockHatSemi|.*Crash"),
    ("machines_lm2", "kick", "snare", "hhclosed", "hhopen|ride"),
    ("machines_tr808", "kick", "snare", "hihat-c", "hihat-o"),
)
# Key (semitones above C) and tempo of the packs whose names tell them; the other singers fit no key in particular.
SUNG = {
    "train": (
        ("producerspace_etv_am_136", 9, 136), ("producerspace_etv_cm_136", 0, 136),
        ("producerspace_etv_dm_136", 2, 136),
        ("producerspace_etv_ebm_136", 3, 136), ("producerspace_etv_fm_136", 5, 136),
        ("producerspace_shv_ab_124", 8, 124),
        ("producerspace_shv_e_128", 4, 128), ("producerspace_shv_fs_122", 6, 122), ("producerspace_dvs", 0, 110),
        ("pjs", 0, 92), ("pjs", 7, 118), ("pjs", 4, 104), ("vocadito", 2, 100), ("speech_vctk", 5, 94),
    ),
    "valid": (("producerspace_etv_gm_136", 7, 136), ("producerspace_shv_e_125", 4, 125)),
}  # fmt: skip
KICKS = ("x.......x.......", "x...x...x...x...", "x.....x...x.....", "x..x..x...x.x...")
SNARES = ("....x.......x...", "....x.......x..x", "........x.......", "....x..x.x..x...")
HATS = ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "..x...x...x...x.", "x..xx.x.x..xx.x.")
BASSLINES = ("x.......x.......", "x.x.x.x.x.x.x.x.", "x..x..x...x..x..", "..x...x...x...x.", "x...............")
PROGRESSIONS = ((0, 8, 3, 10), (0, 5, 8, 7), (0, 0, 5, 5), (0, 10, 8, 10))  # roots above the tonic of a minor key


@dataclass(frozen=True, slots=True)
class Song:
    """A played song: ``stems`` of shape (stem, channel, sample) in the order of `STEMS`; their sum is the mixture."""

    name: str
    stems: Audio


@dataclass(frozen=True, slots=True)
class Note:
    """One recorded note, hit or phrase of shape (channel, sample)."""

    audio: Audio
    pitch: float | None
    label: str


@lru_cache(maxsize=64)
def _notes(folder: Path) -> tuple[Note, ...]:
    """Read every note, hit or phrase that the tables of a source folder list."""
    notes, files = [], {}
    for table in sorted(folder.glob("*.csv")):
        with table.open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                if row["file"] not in files:
                    files[row["file"]] = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)[0].T
                start, end = (round(float(row[key]) * SAMPLE_RATE) for key in ("start", "end"))
                pitch = float(row["midi"]) if row.get("midi") else None
                notes.append(
                    Note(files[row["file"]][:, start:end], pitch, row.get("articulation") or row.get("label") or "")
                )
    return tuple(notes)


class _Player:
    """Plays one song of the given length from one split."""

    def __init__(self, root: Path, split: str, seed: int, seconds: float) -> None:
        self.folder, self.split = root / split, split
        self.random = np.random.default_rng([seed, len(split)])
        self.length = round(seconds * SAMPLE_RATE)
        sung = SUNG[split]
        self.singer, self.key, self.tempo = sung[seed % len(sung)]
        self.step = (
            60 / self.tempo / 4 * (2 if self.tempo > 130 and self.random.random() < 0.3 else 1)
        )  # half-time feel
        self.progression = PROGRESSIONS[self.random.integers(len(PROGRESSIONS))]
        self.bars = int(seconds / (16 * self.step)) + 1
        self.room = self._impulse_response(self.random.uniform(0.25, 1.2))

    def _pick(self, items):
        return items[self.random.integers(len(items))]

    def _impulse_response(self, decay_seconds: float) -> Audio:
        """Stereo room: decaying noise, 60 dB in `decay_seconds`, treble dying first."""
        time = np.arange(round(decay_seconds * SAMPLE_RATE)) / SAMPLE_RATE
        noise = self.random.standard_normal((2, time.size))
        dull = np.cumsum(noise, axis=1)
        dull = (dull[:, 24:] - dull[:, :-24]) / 24**0.5
        noise = noise[:, : dull.shape[1]] * np.exp(-14 * time[: dull.shape[1]] / decay_seconds) + dull
        response = noise * np.exp(-6.9 * time[: dull.shape[1]] / decay_seconds)
        gain = np.abs(np.fft.rfft(response, 1 << 17))[:, 300:6000]  # 100 Hz to 2 kHz, where most energy is
        return (response / np.sqrt((gain**2).mean())).astype(np.float32)

    def _wet(self, dry: Audio, share: float) -> Audio:
        size = 1 << (dry.shape[1] + self.room.shape[1]).bit_length()
        wet = np.fft.irfft(np.fft.rfft(dry.mean(axis=0), size) * np.fft.rfft(self.room, size), size)[:, : self.length]
        delay = round(0.02 * SAMPLE_RATE)
        out = dry.copy()
        out[:, delay:] += share * wet[:, :-delay].astype(np.float32)
        return out

    def _place(self, track: Audio, sound: Audio, seconds: float, gain: float, pan: float) -> None:
        """Add a sound at a time; `pan` -1 left to 1 right with constant power."""
        start = round(max(seconds + self.random.normal(0, 0.004), 0) * SAMPLE_RATE)
        end = min(start + sound.shape[1], self.length)
        if end <= start:
            return
        angle = (pan + 1) * np.pi / 4
        gains = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)[:, None] * 2**0.5
        track[:, start:end] += np.float32(gain) * gains * sound[:, : end - start]

    def _note_at(self, notes: tuple[Note, ...], pitch: float, seconds: float) -> Audio:
        """Play the nearest recorded note at a pitch by resampling it, cut to a length with a short release."""
        pitched = [note for note in notes if note.pitch is not None]
        distance = min(abs(note.pitch - pitch) for note in pitched)
        note = self._pick([note for note in pitched if abs(note.pitch - pitch) <= distance + 0.5])
        ratio = 2 ** ((pitch - note.pitch) / 12)
        source = note.audio[:, : int(5 * SAMPLE_RATE)]
        sound = source if abs(ratio - 1) < 1e-3 else soxr.resample(source.T, SAMPLE_RATE * ratio, SAMPLE_RATE, "MQ").T
        sound = sound[:, : round(seconds * SAMPLE_RATE)].copy()
        release = min(2000, sound.shape[1])
        sound[:, sound.shape[1] - release :] *= np.linspace(1, 0, release, dtype=np.float32)
        return sound

    def _blank(self) -> Audio:
        return np.zeros((2, self.length), dtype=np.float32)

    def _instruments(self, stem: str) -> list[Path]:
        """Sources of a class with enough pitched notes to play any line."""
        folders = sorted((self.folder / stem).iterdir())
        return [path for path in folders if sum(note.pitch is not None for note in _notes(path)) >= 8]

    def drums(self) -> Audio:
        """A kit playing one bar pattern with accents, ghost changes and a cymbal every four bars."""
        kit = self._pick(TRAIN_KITS if self.split == "train" else VALID_KITS)
        hits = _notes(self.folder / "drums" / kit[0])
        pieces = [[hit for hit in hits if re.match(pattern, hit.label)] for pattern in kit[1:]]
        hits_of_song = [self._pick(piece) for piece in pieces]
        machine = "machines" in kit[0] or self.random.random() < 0.4  # the same sample each time
        levels = self.random.uniform((0.9, 0.6, 0.15, 0.15), (1.4, 1.3, 0.8, 0.7))
        pans = self.random.uniform(-0.4, 0.4, 4) * (0, 0.2, 1, 1)
        patterns = [self._pick(KICKS), self._pick(SNARES), self._pick(HATS), "x" + "." * 15]
        track = self._blank()
        for bar in range(self.bars):
            for piece, pattern in enumerate(patterns):
                for step, mark in enumerate(pattern):
                    played = mark == "x" if self.random.random() > 0.04 else mark != "x" and piece == 1
                    if not played or (piece == 3 and bar % 4):
                        continue
                    hit = hits_of_song[piece] if machine else self._pick(pieces[piece])
                    gain = levels[piece] * self.random.uniform(0.75, 1) * (1 if step % 4 == 0 else 0.8)
                    self._place(track, hit.audio, (bar * 16 + step) * self.step, gain, pans[piece])
        track = np.tanh(track * self.random.uniform(0.5, 2.0))  # bus compression
        return self._wet(track, self.random.uniform(0.0, 0.5))

    def bass(self) -> Audio:
        """Roots with some octaves and fifths, one note or a rhythm a bar."""
        pattern = self._pick(BASSLINES)
        synthetic = self.random.random() < 0.35
        notes = self._synth_notes(range(26, 60, 4)) if synthetic else _notes(self._pick(self._instruments("bass")))
        track = self._blank()
        onsets = [step for step, mark in enumerate(pattern) if mark == "x"]
        for bar in range(self.bars):
            root = 28 + (self.key + self.progression[bar % 4] - 4) % 12
            for onset, following in zip(onsets, [*onsets[1:], 16], strict=True):
                pitch = root + self.random.choice([0, 0, 0, 0, 12, 7])
                seconds = (following - onset) * self.step * self.random.uniform(0.7, 1)
                sound = self._note_at(notes, pitch, seconds).mean(axis=0, keepdims=True)
                self._place(track, sound, (bar * 16 + onset) * self.step, self.random.uniform(0.8, 1), 0)
        # From a clean bass guitar to a fuzzy or square synthesizer bass with harmonics up into the voice's range.
        drive = 2 ** self.random.uniform(-2, 4) / max(np.abs(track).max(), 1e-6)
        return np.tanh(drive * track)

    def other(self) -> Audio:
        """One to four instruments: chords held or strummed, broken chords, a line; panned or widened."""
        folders, track = self._instruments("other"), self._blank()
        narrow = 0.15 if self.random.random() < 0.45 else 1.0  # leads and keys in the middle, beside the voice
        for part in range(self.random.integers(1, 5)):
            synthetic = self.random.random() < 0.3
            notes = self._synth_notes(range(36, 97, 4)) if synthetic else _notes(self._pick(folders))
            pan = narrow * self.random.uniform(-0.9, 0.9) * (1 if part else 0.3)
            line = self._blank()
            self._play_part(line, notes, ("held", "strummed", "broken", "line")[self.random.integers(4)], pan)
            if self.random.random() < 0.3:  # overdrive as of a guitar amplifier
                drive = self.random.uniform(2, 8) / max(np.abs(line).max(), 1e-6)
                line = np.tanh(drive * line)
            if self.random.random() < 0.25 * narrow:  # a short delay between the channels, as double tracking
                line[1] = np.roll(line[1], round(self.random.uniform(0.008, 0.025) * SAMPLE_RATE))
            level = np.sqrt((line**2).mean()) + 1e-6
            track += line / level * np.float32(10 ** (self.random.uniform(-6, 3) / 20))
        return self._wet(track, self.random.uniform(0.1, 0.6))

    def _synth_notes(self, pitches: range) -> tuple[Note, ...]:
        """Notes of an analogue synthesizer: detuned saws or squares through a low-pass filter with an envelope."""
        time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
        detune, only_odd = self.random.uniform(0, 0.008), self.random.random() < 0.3
        brightness, decay = self.random.uniform(2, 12), self.random.uniform(0.3, 4)
        attack = self.random.choice([0.003, 0.05, 0.3])
        envelope = np.minimum(1, time / attack) * np.exp(-time / decay)
        notes = []
        for pitch in pitches:
            frequency = 440 * 2 ** ((pitch - 69) / 12)
            sound = np.zeros((2, time.size))
            for harmonic in range(1, int(min(60, 16000 / frequency)) + 1, 2 if only_odd else 1):
                gain = np.exp(-harmonic / brightness * (1 + 2 * time / decay)) / harmonic**0.5
                for side in (0, 1):
                    shift = 1 + detune * (side - 0.5)
                    sound[side] += gain * np.sin(2 * np.pi * harmonic * frequency * shift * time)
            notes.append(Note((0.3 * envelope * sound).astype(np.float32), float(pitch), "synth"))
        return tuple(notes)

    def _play_part(self, line: Audio, notes: tuple[Note, ...], manner: str, pan: float) -> None:
        register = 48 + 12 * self.random.integers(0, 3)
        rhythm = self._pick(BASSLINES[:4])
        for bar in range(self.bars):
            root = (self.key + self.progression[bar % 4]) % 12
            third = 3 if self.progression[bar % 4] in (0, 5, 7) else 4
            chord = [register + (root + interval) % 12 for interval in (0, third, 7)]
            if manner == "held":
                plan = [(0, pitch, 16) for pitch in chord]
            elif manner == "strummed":
                plan = [(step, pitch, 3) for step, mark in enumerate(rhythm) if mark == "x" for pitch in chord]
            elif manner == "broken":
                plan = [(step, chord[(step // 2) % 3] + 12 * (step % 8 == 6), 3) for step in range(0, 16, 2)]
            else:
                plan = [(step, self._pick(chord) + 12, 4) for step in range(0, 16, 4) if self.random.random() < 0.7]
            for step, pitch, steps in plan:
                sound = self._note_at(notes, pitch, steps * self.step)
                self._place(line, sound, (bar * 16 + step) * self.step, self.random.uniform(0.6, 1), pan)

    def vocals(self) -> Audio:
        """Phrases in the centre with gaps; in some songs doubled at the sides; room and echo."""
        phrases = [
            note for note in _notes(self.folder / "vocals" / self.singer) if note.audio.shape[1] > 0.4 * SAMPLE_RATE
        ]
        track, seconds = self._blank(), self.random.choice([0.0, 8 * self.step])
        double = self.random.choice([0, 0, 0.25, 0.7])  # level of the doubles at the sides
        sparse = self.random.choice([0, 0, 4, 16])  # beats of rest after a phrase, at most
        while seconds < self.length / SAMPLE_RATE:
            phrase = self._pick(phrases).audio[:, : 7 * SAMPLE_RATE]
            phrase = phrase / (np.sqrt((phrase**2).mean()) + 1e-4)
            self._place(track, phrase, seconds, self.random.uniform(0.7, 1), 0)
            if double:
                for side in (-0.8, 0.8):
                    self._place(track, phrase, seconds + self.random.uniform(0.012, 0.03), double, side)
            beats = np.ceil(phrase.shape[1] / SAMPLE_RATE / (4 * self.step)) + self.random.integers(0, sparse + 4)
            seconds += beats * 4 * self.step
        for echo in range(1, self.random.choice([1, 1, 4])):  # ping-pong echo
            delay, gain = round(echo * 3 * self.step * SAMPLE_RATE), 0.5**echo
            track[echo % 2, delay:] += np.float32(gain) * track[:, :-delay].mean(axis=0)
        track = self._wet(track, self.random.uniform(0.05, 0.9))
        if self.random.random() < 0.3:  # a chorus or a wide hall: the voice fills the picture
            delays = self.random.uniform(0.008, 0.03, 2) * SAMPLE_RATE
            wide = np.stack([np.roll(channel, round(d)) for channel, d in zip(track, delays, strict=True)])
            track = np.float32(self.random.uniform(0, 1)) * track + wide
        return track

    def _arrange(self, parts: list[Audio]) -> None:
        """Let stems rest for a section, with short fades: breaks, entries, a few bars of drums or voice alone."""
        fade = np.linspace(0, 1, 2000, dtype=np.float32)
        edges = [round(section * self.length / 5) for section in range(6)]
        for start, end in itertools.pairwise(edges):
            rests = self.random.random(4) < self.random.choice([0, 0.2, 0.6])
            for part, rest in zip(parts, rests, strict=True):
                if rest and not rests.all():
                    part[:, start:end] = 0
                    part[:, end : end + fade.size] *= fade[: part[:, end : end + fade.size].shape[1]]
                    before = part[:, max(start - fade.size, 0) : start]
                    before *= fade[::-1][: before.shape[1]]

    def song(self) -> Song:
        """Play all stems and set their levels as in a mix; some songs lack a stem."""
        parts = [self.vocals(), self.drums(), self.bass(), self.other()]
        if self.random.random() < 0.3:  # the kick ducks bass and other, as in club music
            time = np.arange(self.length, dtype=np.float32) / SAMPLE_RATE % (4 * self.step)
            duck = np.minimum(1, 0.15 + time / (2 * self.step)).astype(np.float32)
            parts[2] *= duck
            parts[3] *= duck
        if self.random.random() < 0.6:
            self._arrange(parts)
        # Spread as of released multitracks, where any stem may be 10 dB above or below another.
        levels_db = self.random.normal((0, 0.5, -0.5, -2), (3, 3, 3, 4))
        if self.random.random() < 0.25:
            levels_db[2] = -np.inf  # no bass, as in many club tracks
        for part, level_db in zip(parts, levels_db, strict=True):
            part *= np.float32(10 ** (level_db / 20) / (np.sqrt((part**2).mean()) + 1e-6))
        stems = np.stack(parts)
        return Song(
            f"{self.split}: {self.singer}, {self.tempo} BPM", stems * np.float32(0.9 / np.abs(stems.sum(axis=0)).max())
        )


def play_song(root: Path, *, split: str = "train", seed: int = 0, seconds: float = 20.0) -> Song:
    """Play one practice song.

    Parameters
    ----------
    root : Path
        Folder with ``train/`` and ``valid/``, each ``<class>/<source>/*.csv`` beside its audio.
    split : {"train", "valid"}
        Which recordings are used; the splits share none.
    seed : int
        Chooses singer, kit, key, score and levels; equal seeds give equal songs.
    seconds : float
        Length of the song.
    """
    return _Player(root, split, seed, seconds).song()
