"""`rasteret-sql info`: what is in an index."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, add_built_index, new_command
from rasteret_sql.apps.console import Style, aligned, columns_of_terminal, listed
from rasteret_sql.wording import count, shortened, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rasteret_sql.index.info import IndexInfo

_EPILOG = """\
examples:
  rasteret-sql info s2.parquet
  rasteret-sql info s2.parquet --json | jq .assets"""
#: Columns that the names of facts and their indent take.
_MARGIN = 15


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "info", "describe an index: items, bands, dates, CRSs, sizes, provenance", _EPILOG)
    add_built_index(command)
    command.add_argument("--json", action="store_true", help="write JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the facts."""
    from rasteret_sql.index.info import info

    facts = info(arguments.index)
    print(json.dumps(as_json(facts), indent=2) if arguments.json else as_text(facts, Style.of(sys.stdout)))
    return 0


def as_json(facts: IndexInfo) -> dict[str, Any]:
    """Give the facts as JSON can hold them; what belongs to no collection or CRS has the key ""."""
    values = asdict(facts)
    values["path"] = str(facts.path)
    for name in ("collections", "crs"):
        values[name] = {key or "": number for key, number in values[name].items()}
    return values


def as_text(facts: IndexInfo, style: Style) -> str:
    """Lay out the facts for people."""
    width = max(columns_of_terminal() - _MARGIN, 40)
    lines: dict[str, str | list[str]] = {
        "items": f"{count(facts.items, 'item')}, {count(facts.rows, 'file')}",
        "collections": _counted(facts.collections, width, absent="(none)"),
        "dates": _dates(facts),
        "area": _area(facts),
        "CRSs": _counted(facts.crs, width, absent="(no CRS)"),
        "tiles": f"{count(facts.tiles, 'tile')} of all levels and masks, {size(facts.tile_bytes)} as stored",
        "index": _index_size(facts),
    }
    assets = {
        name: f"{count(number, 'file'):<10}  {', '.join(facts.bands.get(name, ())) or '(unnamed)'}"
        for name, number in facts.assets.items()
    }
    parts = [
        style.bold(str(facts.path)),
        aligned(lines, style, indent="  "),
        "",
        style.bold("assets and their bands"),
        aligned(assets, style, indent="  "),
    ]
    provenance = _provenance(facts.provenance, width)
    if provenance:
        parts += ["", style.bold("provenance"), aligned(provenance, style, indent="  ")]
    return "\n".join(parts)


def _counted(counts: Mapping[str | None, int], width: int, *, absent: str) -> list[str]:
    named = [f"{shortened(key, 60) if key else absent} ({number:,})" for key, number in counts.items()]
    return listed(named, width=width)


def _dates(facts: IndexInfo) -> str:
    if facts.datetime_range is None:
        return "none"
    first, last = facts.datetime_range
    return first if first == last else f"{first} to {last}"


def _area(facts: IndexInfo) -> str:
    if facts.bbox is None:
        return "unknown"
    return "{:.4f}, {:.4f}, {:.4f}, {:.4f} (lon/lat)".format(*facts.bbox)


def _index_size(facts: IndexInfo) -> str:
    each = f", {facts.index_bytes / facts.tiles:.1f} bytes a tile" if facts.tiles else ""
    return f"{size(facts.index_bytes)}{each}"


def _provenance(values: Mapping[str, Any], width: int) -> dict[str, str | list[str]]:
    definition = values.get("definition") or {}
    lines: dict[str, str | list[str]] = {}
    if "built_at" in values:
        seconds = f" in {values['build_seconds']} s" if "build_seconds" in values else ""
        version = f" by rasteret_sql {values['version']}" if "version" in values else ""
        lines["built"] = f"{values['built_at']}{seconds}{version}"
    if "partition_by" in values:
        lines["split by"] = ", ".join(values["partition_by"])
    if definition.get("source"):
        lines["source"] = listed(str(definition["source"]).split("; "), width=width)
    for name in ("pattern", "collection"):
        if definition.get(name):
            lines[name] = str(definition[name])
    if definition.get("assets"):
        lines["assets"] = listed(definition["assets"], width=width)
    if definition.get("href_map"):
        lines["mirrors"] = [f"{key} at {value}" for key, value in definition["href_map"].items()]
    if "schema_version" in values:
        lines["schema"] = f"version {values['schema_version']}"
    if values.get("failure_count"):
        lines["failures"] = count(values["failure_count"], "file")
        shown = values.get("failures", [])[:10]
        lines[""] = [f"{failure['href'] or failure['item_id']}: {failure['error']}" for failure in shown]
    return lines
