"""Alternate locations of STAC assets: which one is read, and that there is one of the name at all. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import BuildError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.index.model import Found, Source


class AlternateSource:
    """Sources whose assets are read from alternate locations, which some of them must have.

    Args:
        sources: gone through in order.
        names: the locations that are wanted, best first.
    """

    def __init__(self, sources: Sequence[Source], names: Sequence[str]) -> None:
        self._sources = sources
        self._names = names

    def find(self) -> Iterator[Found]:
        """Go through the sources.

        Raises:
            BuildError: there are assets, and none has a location of these names.
        """
        seen: set[str] = set()
        has_items = False
        for source in self._sources:
            for found in source.find():
                seen |= found.alternates
                has_items = has_items or bool(found.items)
                yield found
        if has_items and not seen.intersection(self._names):
            expected = f"expected one of {', '.join(sorted(seen))}" if seen else "and none has alternate locations"
            raise BuildError(
                f"alternate: got {', '.join(self._names)}, which no asset has, {expected}; "
                f"leave it out to read from the published href"
            )


def checked_alternate(value: object) -> tuple[str, ...]:
    """Read the name of a location, or several, best first; none of None.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError(
            f"alternate: got {value!r}, expected the name of a location such as 's3', or a list of them, best first"
        )
    return tuple(dict.fromkeys(names))


def locations(asset: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the locations of an asset that have names.

    An alternate location is named by its key and by its `alternate:name`; keys go before names. An asset may name its
    own location, too, which is the asset itself then.

    >>> sorted(locations({"href": "https://a/b.tif", "alternate": {"s3": {"href": "s3://a/b.tif"}}}))
    ['s3']
    """
    alternate = asset.get("alternate")
    named = {
        key: location
        for key, location in (alternate.items() if isinstance(alternate, Mapping) else ())
        if isinstance(location, Mapping) and isinstance(location.get("href"), str) and location["href"]
    }
    for location in [*named.values(), asset]:
        name = location.get("alternate:name")
        if isinstance(name, str) and name:
            named.setdefault(name, location)
    return named
