"""What every measured process does around its work: read the job, take the time, say what came out."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


class Job:
    """The work of this process, as `benchmarks.measure` wrote it; its path is the first argument."""

    def __init__(self) -> None:
        with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be part of what is measured
            self.values: dict[str, Any] = json.load(file)
        self._began_s = 0.0
        self._ended_s = 0.0

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def begin(self) -> None:
        """Start the clock of the read alone; what was imported before is not part of it."""
        self._began_s = time.monotonic()

    def stop(self) -> None:
        """Stop the clocks before `end`: results are put into the form in which peers are compared after it."""
        self._ended_s = time.monotonic()

    def keep(self, values: Any) -> None:
        """Write results that are compared with a tolerance, float64 of any shape; `stop` comes before."""
        import numpy as np

        np.save(f"{self['kept']}/{sys.argv[2]}.npy", np.asarray(values, np.float64))

    def end(self, array: Any = None, keep: str | None = None, **facts: Any) -> None:
        """Stop the clocks, unless `stop` has, and say what was read.

        Args:
            array: shape (item, band, y, x) or (chip, band, y, x), or None; its checksum must be that of every peer.
            keep: a path at which the array is left for comparison.
            **facts: further results.
        """
        called_s = time.monotonic()
        ended_s = self._ended_s or called_s
        cpu_s = time.process_time()
        peak_rss_bytes = _peak_rss_bytes()
        if keep is not None:
            _keep(array, keep)
        found = {
            **facts,
            "ended_s": ended_s,
            "cpu_s": cpu_s,
            "read_s": ended_s - self._began_s if self._began_s else None,
            "checksum": None if array is None else _checksum(array),
            "peak_rss_bytes": peak_rss_bytes,
        }
        found["reporting_s"] = time.monotonic() - ended_s
        print(json.dumps(found), flush=True)


def _keep(array: Any, path: str) -> None:
    import numpy as np

    np.save(path, np.asarray(array, "<u2"))


def _checksum(array: Any) -> str:
    import zlib

    import numpy as np

    pixels = np.ascontiguousarray(array, dtype="<u2")
    return f"{'x'.join(map(str, pixels.shape))}:{zlib.crc32(pixels):08x}"


def _peak_rss_bytes() -> int:
    # Not getrusage: its maximum begins with that of the process which started this one.
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
