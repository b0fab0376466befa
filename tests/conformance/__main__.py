"""`python -m tests.conformance` writes docs/files.md; with files it prints what is found of them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.examine import examine_all
from tests.conformance.files import FOLDER, GROUPS, examine_group, manifest
from tests.conformance.page import PAGE, page

if __name__ == "__main__":
    if len(sys.argv) > 1:
        for outcome in examine_all(sys.argv[1:]):
            print(outcome)  # noqa: T201
    elif manifest():
        PAGE.write_text(page({group: examine_group(group) for group in GROUPS}), encoding="utf-8")
    else:
        sys.exit(f"no third-party files at {Path(FOLDER)}: the page stays as it is")
