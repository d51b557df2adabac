"""Ways in which files are damaged, and the formats they are tried on."""

import random

FORMATS = [
    "wav 16", "wav float", "rf64", "w64", "aiff", "caf", "caf alac", "flac", "mp3 (LAME tag)", "mp3 (no tag)",
    "ogg vorbis", "ogg opus", "m4a aac", "m4a alac", "aac (adts)", "wma 2", "ac3", "wavpack", "tta", "mkv aac",
    "webm opus",
]  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    kind = rng.choice(["cut", "flip", "flip head", "zero", "insert", "remove", "double"])
    if kind == "cut":
        return bytes(damaged[: rng.randrange(1, len(damaged))])
    if kind in ("flip", "flip head"):
        end = min(len(damaged), 200) if kind == "flip head" else len(damaged)
        for _ in range(rng.choice([1, 3, 30])):
            damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    start = rng.randrange(len(damaged))
    length = rng.choice([1, 4, 100, 4000])
    if kind == "zero":
        damaged[start : start + length] = bytes(min(length, len(damaged) - start))
    elif kind == "insert":
        damaged[start:start] = rng.randbytes(length)
    elif kind == "remove":
        del damaged[start : start + length]
    else:
        damaged += damaged[start:]
    return bytes(damaged) or b"\0"
