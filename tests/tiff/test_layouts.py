"""Formats that are kept from one file to the next: only files whose tags say the same share one."""

from __future__ import annotations

import pytest

from rasteret_sql.errors import CorruptTiffError
from rasteret_sql.tiff import image

RGB = ((277, 3, 3), (262, 3, 2))


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    image._LAYOUTS.clear()


def test_files_of_one_layout_share_a_format(make_tiff, basic, parse):
    one, other = (parse(make_tiff(basic(), data=bytes(64) + bytes(more))) for more in (0, 8))
    assert one.levels[0].format is other.levels[0].format


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_outside_the_table_tell_layouts_apart(order, make_tiff, basic, parse):
    dtypes = [
        parse(make_tiff(basic((258, 3, [bits] * 3), *RGB, (279, 4, 192 * 2)), order=order, data=bytes(384)))
        .levels[0]
        .format.dtype
        for bits in (8, 16, 8)
    ]
    assert dtypes == ["uint8", "uint16", "uint8"]


def test_byte_orders_tell_layouts_apart(make_tiff, basic, parse):
    orders = [parse(make_tiff(basic(), order=order)).levels[0].format.byte_order for order in "<><"]
    assert orders == ["little", "big", "little"]


def test_a_layout_that_is_refused_is_refused_again_by_its_own_name(make_tiff, basic, parse):
    for _ in range(2):
        with pytest.raises(CorruptTiffError, match="SamplesPerPixel"):
            parse(make_tiff(basic((277, 3, 0))))
    assert not image._LAYOUTS


def test_few_layouts_are_kept(make_tiff, basic, parse):
    for width in range(8, 8 + image.MAX_LAYOUTS + 10):
        parse(make_tiff(basic((256, 4, width), (279, 4, 8 * width)), data=bytes(8 * width)))
    assert len(image._LAYOUTS) <= image.MAX_LAYOUTS
