"""Progress bars by tqdm: a widget in notebooks that can show one, text on stderr elsewhere."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, Self


class Bar:
    """A bar of what is done, of a total that may become known, and grow, while it is shown.

    Args:
        description: what stands before it.
        unit: what is counted.
        total: how many there are, or None where that is not known yet.
        **options: those of tqdm.
    """

    def __init__(self, description: str, *, unit: str, total: int | None = None, **options: Any) -> None:
        self._bar = _tqdm()(desc=description, unit=unit, total=total or None, dynamic_ncols=True, **options)

    def __enter__(self) -> Self:
        """Give the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self.close()

    def show(self, done: int, total: int | None = None, note: str = "") -> None:
        """Draw a state, unless the last one was drawn just now.

        Args:
            done: how many are done.
            total: how many there are, or None where that is not known.
            note: what stands after it.
        """
        if total and total != self._bar.total:
            self._bar.total = total
            if hasattr(self._bar, "container"):
                # tqdm takes over a new total into its widget only where it begins anew.
                _, widget, _ = self._bar.container.children
                widget.max, widget.bar_style = total, ""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Draw the last state and leave it, in red for a widget that has not reached its total; or clear the line."""
        if self._bar.leave:
            self._bar.refresh()
        self._bar.close()


@cache
def _tqdm() -> Any:
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns, and takes text, which is all that there is to do.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm
