"""HTML that notebooks show: all text is escaped, colours are those of the page, nothing is loaded and nothing runs.

Styles stand at their elements, since notebooks that are not trusted lose style sheets. Lines between rows are half
transparent grey and less important text is paler, so that light and dark pages both show them.
"""

from __future__ import annotations

import base64
import html
import numbers
from typing import TYPE_CHECKING, Any

from rasteret_sql.wording import count, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Rows that a table shows; it says how many more there are.
SHOWN_ROWS = 20
#: Characters of a cell; what is longer is cut.
SHOWN_CHARACTERS = 400

_LINE = "border:0;border-top:1px solid rgba(128,128,128,.35)"
_CELL = f"padding:.2em .9em .2em 0;vertical-align:top;background:none;{_LINE}"
_PALE = "opacity:.65"
_LINKED = ("https://", "http://")


class Html(str):
    """Text that is markup already; every other text is escaped."""

    __slots__ = ()


def panel(title: str, subject: str, *parts: Html | None) -> Html:
    """Put parts below each other, under the name of a class and what the object is about."""
    head = f"<div><b>{_text(title)}</b> &nbsp;<span>{_text(subject)}</span></div>"
    return Html(f'<div style="overflow-x:auto">{head}{"".join(part for part in parts if part)}</div>')


def facts(values: Mapping[str, Any]) -> Html:
    """Lay out names and values in two columns; None, "" and empty collections are left out."""
    rows = [
        f'<tr style="background:none"><td style="{_CELL};text-align:left;{_PALE};white-space:nowrap">{_text(name)}</td>'
        f'<td style="{_CELL};text-align:left">{_value(value)}</td></tr>'
        for name, value in values.items()
        if value is not None and value not in ("", (), [], {})
    ]
    return _table("", rows)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, total: bool = False) -> Html:
    """Lay out rows under a header: numbers to the right, all else to the left.

    Args:
        header: names of the columns.
        rows: their values; of many, the first `SHOWN_ROWS` are shown.
        total: whether the last row is a total, which is always shown.
    """
    listed = list(rows)
    last = [listed.pop()] if total and listed else []
    shown, hidden = listed[:SHOWN_ROWS], len(listed) - SHOWN_ROWS
    # A column is one of numbers or not as a whole, so that its header stands over them.
    is_number = [
        any(_is_number(row[column]) for row in [*shown, *last])
        and all(row[column] is None or _is_number(row[column]) for row in [*shown, *last])
        for column in range(len(header))
    ]
    aligned = ["right" if number else "left" for number in is_number]
    lines = [_row(row, aligned) for row in shown]
    if hidden > 0:
        lines.append(
            f'<tr style="background:none"><td colspan="{len(header)}" style="{_CELL};text-align:left;{_PALE}">'
            f"and {count(hidden, 'more row')}</td></tr>"
        )
    lines += [_row(row, aligned, "font-weight:bold;") for row in last]
    names = "".join(
        f'<th style="{_CELL};border-top:0;text-align:{align};white-space:nowrap">{_text(name)}</th>'
        for name, align in zip(header, aligned, strict=True)
    )
    return _table(f'<thead><tr style="background:none">{names}</tr></thead>', lines)


def details(summary: str, part: Html) -> Html:
    """Hide a part until its summary is clicked."""
    return Html(f'<details><summary style="cursor:pointer">{_text(summary)}</summary>{part}</details>')


def line(text: str) -> Html:
    """Give a text a line of its own."""
    return Html(f"<div>{_text(text)}</div>")


def link(url: str, text: str = "") -> Html:
    """Link to an http(s) URL; all else is shown as text."""
    if not url.startswith(_LINKED):
        return _text(text or url)
    return Html(
        f'<a href="{html.escape(_encodable(url))}" target="_blank" rel="noopener noreferrer" '
        f'style="color:inherit;text-decoration:underline">{_text(text or url)}</a>'
    )


def pictures(captioned: Iterable[tuple[bytes, str]], *, side: int) -> Html:
    """Lay out PNG files beside each other, each over its caption.

    Args:
        captioned: the bytes of each file and its caption.
        side: their longer side, in pixels of the page.
    """
    figures = "".join(
        f'<div style="display:inline-block;margin:.3em .8em .3em 0;vertical-align:top;max-width:{side}px">'
        f'<img alt="{_text(caption)}" src="data:image/png;base64,{base64.b64encode(png).decode()}" '
        f'style="max-width:{side}px;max-height:{side}px;image-rendering:pixelated;display:block;margin:0">'
        f'<div style="font-size:smaller;overflow-wrap:anywhere;{_PALE}">{_text(caption)}</div></div>'
        for png, caption in captioned
    )
    return Html(f"<div>{figures}</div>" if figures else "")


def _table(head: str, rows: Sequence[str]) -> Html:
    if not rows:
        return Html("")
    return Html(
        f'<table style="border-collapse:collapse;border:0;margin:.4em 0 .6em 0;width:auto;table-layout:auto">{head}'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(row: Sequence[Any], aligned: Sequence[str], style: str = "") -> str:
    cells = "".join(
        f'<td style="{style}{_CELL};text-align:{align}">{_value(value)}</td>'
        for value, align in zip(row, aligned, strict=True)
    )
    return f'<tr style="background:none">{cells}</tr>'


def _value(value: Any) -> Html:
    if value is None:
        return Html(f'<span style="{_PALE}">&ndash;</span>')
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    if _is_number(value):
        return _text(f"{value:,}" if isinstance(value, numbers.Integral) else f"{value:,.10g}")
    if isinstance(value, (tuple, list)):
        return Html(", ".join(_value(each) for each in value))
    return value if isinstance(value, Html) else _text(str(value))


def _text(text: str) -> Html:
    return Html(html.escape(_encodable(shortened(text, SHOWN_CHARACTERS))))


def _encodable(text: str) -> str:
    """Replace what UTF-8 cannot hold, such as the bytes of a path that is in another encoding."""
    return text.encode("utf-8", "replace").decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
