"""Every argument of a public function is described, wherever its text comes from."""

import inspect
import re

import pytest

import rasteret_sql as rs
from rasteret_sql.shared_docs import SHARED, shares_arguments

FUNCTIONS = [name for name in rs.__all__ if inspect.isfunction(getattr(rs, name))]


def described(function) -> dict[str, str]:
    section = inspect.getdoc(function).partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^ {4}(?! )", section, flags=re.MULTILINE)
    found = {}
    for entry in filter(None, entries):
        names, _, text = entry.partition(": ")
        found |= dict.fromkeys((name.strip().lstrip("*") for name in names.split(",")), " ".join(text.split()))
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_described(name):
    function = getattr(rs, name)
    if not inspect.signature(function).parameters:
        return
    texts = described(function)
    missing = [each for each in inspect.signature(function).parameters if not texts.get(each)]
    if "The arguments are those of `read_tiles`" in function.__doc__:
        missing = []
    assert not missing


def test_own_descriptions_come_first_and_the_order_is_that_of_the_signature():
    def read(index, path, *, bands=None, level=None, **others):
        """Read.

        Args:
            path: own.
            level: of my own,
                on two lines.
            **others: more.

        Returns:
            Pixels.
        """

    texts = described(shares_arguments(read))
    assert texts == {
        "index": SHARED["index"],
        "path": "own.",
        "bands": SHARED["bands"],
        "level": "of my own, on two lines.",
        "others": "more.",
    }
    assert list(texts) == ["index", "path", "bands", "level", "others"]
    assert read.__doc__.endswith("Returns:\n    Pixels.")


def test_an_argument_that_nothing_describes_is_an_error():
    def read(index, unheard_of):
        """Read.

        Args:
            index: rows.
        """

    with pytest.raises(KeyError, match="unheard_of"):
        shares_arguments(read)
