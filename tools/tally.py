"""Add up the test reports that one `make test` wrote, and close with one line that counts them all.

    python tools/tally.py build/reports

Exits with 1 if a test failed, or if none ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(folder: Path) -> int:
    """Print a line per report and the sum; return the exit status."""
    passed = failed = skipped = 0
    for path in sorted(folder.glob("*.xml")):
        # pytest writes one <testsuite>, vitest one per file.
        suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
        tests, failures, errors, left_out = (
            sum(int(suite.get(key) or 0) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
        )
        good, bad = max(tests - failures - errors - left_out, 0), failures + errors
        seconds = sum(float(suite.get("time") or 0) for suite in suites)
        print(f"  {path.stem:10} {good:6} passed {bad:4} failed {left_out:4} skipped {seconds:8.1f} s")
        passed, failed, skipped = passed + good, failed + bad, skipped + left_out
    print(f"total: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
