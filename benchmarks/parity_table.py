"""The table of parity: architecture, configuration, what it was compared with, parameters, largest difference.

    pip install --no-deps --target DIR openunmix==1.3.0 demucs==4.1.0 julius einops unblend==1.0.0 \
        BS-RoFormer==0.4.1 audio-separator==0.47.1 \
        beartype einx frozendict hyper-connections PoPE-pytorch rotary-embedding-torch torch-einops-utils
    PYTHONPATH=DIR OMP_NUM_THREADS=1 python benchmarks/parity_table.py [--all] [FILE_OR_FOLDER ...]

Runs the tests of parity and of known answers, and prints what they record: the largest difference over the largest
absolute output of the other implementation. `--all` has the networks of published size too, which take minutes. Tests
that skip, because a package or the known answers are absent, are named below the table; a failed test is an exit
code of 1.
"""

import argparse
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from parity_rows import PROPERTY, ParityRow

TESTS = (
    "tests/parity",
    "tests/models/test_open_unmix_known.py",
    "tests/models/test_open_unmix.py",
    "tests/models/test_hybrid_demucs.py",
    "tests/models/test_time_demucs.py",
    "tests/models/test_tdc_unet.py",
)


class Rows:
    """Collects what tests record."""

    def __init__(self) -> None:
        self.rows: list[ParityRow] = []
        self.skipped: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the rows of a test that passed, or the reason of one that was skipped."""
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            self.skipped[reason] = self.skipped.get(reason, 0) + 1
        if report.when != "call" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, tuple):
                self.rows.append(ParityRow(*value))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=[str(ROOT / one) for one in TESTS])
    parser.add_argument("--all", action="store_true", help="also those that take minutes")
    arguments = parser.parse_args()
    collected = Rows()
    chosen = [] if arguments.all else ["-m", "not slow"]
    code = pytest.main(
        ["-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *chosen, *arguments.tests], [collected]
    )
    print("\n| architecture | configuration | against | parameters | largest relative difference |")
    print("| --- | --- | --- | --- | --- |")
    for row in sorted(collected.rows, key=lambda one: one.architecture):
        count = f"{row.parameters:,}"
        print(f"| {row.architecture} | {row.configuration} | {row.against} | {count} | {row.difference:.1e} |")
    for reason, count in collected.skipped.items():
        print(f"\nskipped, {count}: {reason}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
