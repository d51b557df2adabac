"""Times the quick answers of the command (help, usage errors, a missing file) and looks whether torch is imported."""

import argparse
import resource
import statistics
import subprocess
import sys
import time

CASES = (
    ("mss-cli --help", ["--help"]),
    ("mss-cli separate --help", ["separate", "--help"]),
    ("mss-cli separate song.wav --modle x", ["separate", "song.wav", "--modle", "x"]),
    ("mss-cli separate missing.wav", ["separate", "missing.wav"]),
    ("mss-cli separate song.wav --model clasical", ["separate", "song.wav", "--model", "clasical"]),
    ("mss-cli models", ["models"]),
)


def imports_torch(arguments: list[str]) -> bool:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mss_cli", *arguments], capture_output=True, text=True, check=False
    )
    return any(line.rstrip().endswith("| torch") for line in done.stderr.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print("| command | wall, median s | wall, least s | CPU, median s | exit | imports torch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for label, arguments in CASES:
        times: list[float] = []
        cpu: list[float] = []
        for _ in range(rounds):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", "mss_cli", *arguments], capture_output=True, check=False)
            times.append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        torch = "yes" if imports_torch(arguments) else "no"
        row = f"{statistics.median(times):.2f} | {min(times):.2f} | {statistics.median(cpu):.2f}"
        print(f"| `{label}` | {row} | {done.returncode} | {torch} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
