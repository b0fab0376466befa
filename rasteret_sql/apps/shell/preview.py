"""`.preview`: a picture of an index, or of the rows of a query, in the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rasteret_sql.apps.console import Style, note
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.apps.shell.explain import one_select
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.apps.shell.session import Session
    from rasteret_sql.output.picture import Picture


def preview(session: Session, index: str, bands: Sequence[str] | None, *, is_query: bool) -> None:
    """Show a picture.

    Args:
        session: its connection runs the query.
        index: path of an index, or a query.
        bands: three bands, or one; None lets the picture choose.
        is_query: whether `index` is a query.

    Raises:
        InvalidArgumentError: stdout is no terminal, or there is not one query.
        RasteretError: it cannot be drawn.
    """
    from rasteret_sql.apps import terminal_images
    from rasteret_sql.apps.preview import described

    if not sys.stdout.isatty() and not os.environ.get(terminal_images.VARIABLE):
        raise InvalidArgumentError(
            ".preview: stdout is no terminal, expected one to show pictures in; "
            "`rasteret-sql preview -o FILE` writes a file"
        )
    space = terminal_images.room(sys.stdout)
    con = session.con

    def draw() -> Picture:
        from rasteret_sql.output.picture import picture

        rows = con.sql(one_select(con, index, ".preview")) if is_query else index
        with read_bar():
            return picture(rows, connection=con, bands=bands, size=(space.height, space.width))

    drawn = session.attend(draw)
    sys.stdout.write(terminal_images.encode(drawn.pixels, space))
    sys.stdout.flush()
    for line in described(drawn, Style.of(sys.stderr)):
        note(line)
