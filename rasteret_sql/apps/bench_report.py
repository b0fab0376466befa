"""What `rasteret-sql bench` says of its measurements: as JSON, as text, and in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.console import Style, aligned
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.apps.bench import Bench
    from rasteret_sql.read.measure import Decoding, MeasuredRead

_BAR_CELLS = 30
_MB = 1_000_000
#: Parts of a read: threads that decode so much of it bound it; what overlaps so much, and leaves so little, does not.
_BUSY, _MOST_OF_IT, _LITTLE = 0.7, 0.5, 0.25

_PHASES = {
    "starting": "starting up",
    "waiting": "waiting for first bytes",
    "receiving": "receiving",
    "both": "receiving and decoding",
    "decoding": "decoding alone",
    "idle": "idle",
}


def as_json(bench: Bench) -> dict[str, Any]:
    """Give what was measured as JSON can hold it."""
    return {
        "index": bench.index,
        "stores": bench.stores,
        "files": bench.files,
        "planned_files": bench.planned_files,
        "tiles": bench.tiles,
        "plan_s": {"first": _rounded(bench.plan_s[0]), "again": _rounded(bench.plan_s[1])},
        "first_byte_s": {"first": _rounded(bench.probes_s[0]), **_spread_of(bench.probes_s[1:] or bench.probes_s)},
        "sweeps": [
            {
                "in_flight": each.in_flight,
                "requests": len(each.latencies_s),
                "nbytes": each.nbytes,
                "seconds": _rounded(each.seconds),
                "requests_per_s": _rounded(len(each.latencies_s) / each.seconds),
                "mb_per_s": _rounded(each.nbytes / _MB / each.seconds),
                "latency_s": _spread_of(each.latencies_s),
            }
            for each in bench.sweeps
        ],
        "reads": {name: _read_as_json(getattr(bench, name)) for name in ("cold", "warm")},
        "fetched_bytes": bench.fetched_bytes,
        "is_repeated": bench.is_repeated,
        "verdict": verdict(bench),
    }


def _read_as_json(read: MeasuredRead) -> dict[str, Any]:
    return {
        "tiles": read.tiles,
        "requests": read.requests,
        "encoded_bytes": read.encoded_bytes,
        "pixel_bytes": read.pixel_bytes,
        "seconds": _rounded(read.seconds),
        "phases_s": {name: _rounded(seconds) for name, seconds in read.phases.items()},
        "decode_threads": read.threads,
        "decode_busy": _rounded(_busy(read)),
        "decoding": [
            {
                "codec": each.codec,
                "tiles": each.tiles,
                "encoded_bytes": each.encoded_bytes,
                "pixel_bytes": each.pixel_bytes,
                "thread_seconds": _rounded(each.thread_seconds),
                "pixel_mb_per_s_and_thread": _rounded(_decode_speed(each)),
            }
            for each in read.decodings
        ],
    }


def _spread_of(seconds: Sequence[float]) -> dict[str, float]:
    import numpy as np

    if not seconds:
        return {"median": 0.0, "p95": 0.0}
    return {"median": _rounded(float(np.median(seconds))), "p95": _rounded(float(np.percentile(seconds, 95)))}


def _rounded(value: float) -> float:
    return round(value, 6)


def as_text(bench: Bench, style: Style) -> str:
    """Lay out what was measured."""
    latency = _spread_of(bench.probes_s[1:] or bench.probes_s)
    planned = count(bench.tiles, "tile")
    if bench.planned_files < bench.files:
        planned += f" of {count(bench.planned_files, 'file')}"
    facts: dict[str, str | list[str]] = {
        "plan": f"{_ms(bench.plan_s[0])} first, {_ms(bench.plan_s[1])} again: {planned}",
        "first byte": f"{_ms(latency['median'])} median, {_ms(latency['p95'])} p95, of {len(bench.probes_s)} requests "
        "one at a time",
    }
    lines = [style.bold(f"{bench.index} on {', '.join(bench.stores[:3])}"), aligned(facts, style, indent="  "), ""]
    lines += [style.bold("128 KiB in flight     requests/s      MB/s    median       p95")]
    for each in bench.sweeps:
        spread = _spread_of(each.latencies_s)
        lines.append(
            f"  {each.in_flight:>16}  {len(each.latencies_s) / each.seconds:>12,.0f}  "
            f"{each.nbytes / _MB / each.seconds:>8,.1f}  {_ms(spread['median']):>8}  {_ms(spread['p95']):>8}"
        )
    lines += ["", style.bold("decoding, each thread")]
    lines += [f"  {each.codec:<22}  {_decode_speed(each):>8,.0f} MB/s of pixels" for each in bench.warm.decodings]
    for name, read in (("cold", bench.cold), ("warm", bench.warm)):
        lines += ["", *_read_as_text(name, read, style)]
    lines += ["", verdict(bench)]
    if bench.is_repeated:
        lines.append("There are few tiles: some were fetched several times, which caches make faster.")
    return "\n".join(lines)


def _read_as_text(name: str, read: MeasuredRead, style: Style) -> list[str]:
    title = (
        f"{name} read: {count(read.tiles, 'tile')} in {count(read.requests, 'request')}, "
        f"{size(read.encoded_bytes)} in {read.seconds:.2f} s: {read.encoded_bytes / _MB / read.seconds:,.1f} MB/s, "
        f"{read.pixel_bytes / _MB / read.seconds:,.0f} MB/s of pixels"
    )
    lines = [style.bold(title)]
    for phase, label in _PHASES.items():
        share = read.phases[phase] / read.seconds
        bar = "█" * round(share * _BAR_CELLS)
        lines.append(f"  {style.dim(f'{label:<24}')}{_ms(read.phases[phase]):>9}  {share:>4.0%}  {bar}".rstrip())
    return lines


def _ms(seconds: float) -> str:
    """Give a time in milliseconds, to as many digits as say something."""
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 10 else f"{value:,.0f} ms"


def _decode_speed(decoding: Decoding) -> float:
    return decoding.pixel_bytes / _MB / max(decoding.thread_seconds, 1e-9)


def _busy(read: MeasuredRead) -> float:
    """Which part of the time of its threads a read decoded, from the first request on."""
    seconds = max(read.seconds - read.phases["starting"], 1e-9) * read.threads
    return min(sum(each.thread_seconds for each in read.decodings) / seconds, 1.0)


def verdict(bench: Bench) -> str:
    """Say in a sentence or two what bounds reads here, and what would help."""
    read = bench.warm
    working = max(read.seconds - read.phases["starting"], 1e-9)
    waiting, receiving, both, decoding = (
        read.phases[name] / working for name in ("waiting", "receiving", "both", "decoding")
    )
    best = max(bench.sweeps, key=lambda each: each.nbytes / each.seconds)
    reached = f"the store gave {best.nbytes / _MB / best.seconds:,.0f} MB/s with {best.in_flight} requests in flight"
    threads = f"{count(read.threads, 'thread')} decoded {_busy(read):.0%} of the time"
    if _busy(read) >= _BUSY or decoding > waiting + receiving:
        return (
            f"Decoding bounds reads here: {threads}, while {reached}. More cores help, and overviews where they "
            "suffice (resolution, level)."
        )
    if both >= _MOST_OF_IT and waiting + receiving < _LITTLE:
        return f"Nothing bounds reads alone: {both:.0%} of the time bytes arrived while others were decoded; {reached}."
    if waiting >= receiving:
        return (
            f"Latency bounds reads here: {waiting:.0%} of the time no byte had come yet of any request; {reached}, and "
            f"{threads}. Read more at once (all items and bands in one call), or run nearer to the data."
        )
    return (
        f"The network bounds reads here: {waiting + receiving:.0%} of the time bytes were on their way and nothing was "
        f"left to decode; {reached}, and {threads}. Run nearer to the data, or read overviews where they suffice "
        "(resolution, level)."
    )
