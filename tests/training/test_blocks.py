"""Chips that lie inside the blocks of files: one tile per chip and band, at random and as a grid."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import roi_split
from torchgeo.samplers import RandomGeoSampler

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise
from tests.training.scenes import CRS, PIXEL, as_array
from tests.training.test_samplers import batches_of

#: Pixels of a block, and of the sides of each image: three whole blocks, and a piece of one.
BLOCK = 64
HEIGHT, WIDTH = 3 * BLOCK + 20, 2 * BLOCK + 40


class Blocks:
    """Items I1 and I2 of bands red and nir, a day apart at one place, and their server."""

    def __init__(self, server, index, files):
        self.server, self.index, self.files = server, index, files

    def dataset(self, **options):
        return rs.to_torchgeo(self.index, **{"bands": ["red", "nir"]} | options)

    def pixels(self, day, band):
        return next(file.data for file in self.files if (file.item, file.asset) == (f"I{day}", band))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    options = {"transform": at(WEST), "tile": BLOCK, "overviews": (2,)}
    files = [
        File(f"I{day}", band, noise(10 * day + number, (HEIGHT, WIDTH)), day, options=options)
        for day in (1, 2)
        for number, band in enumerate(("red", "nir"))
    ]
    with RangeServer(folder) as server:
        yield Blocks(server, make_index(folder, files, base=server.base_url), files)


def offsets(query, pixel=PIXEL):
    """Give row_off, col_off, height and width of a slice in pixels of the images."""
    x, y, _ = query
    found = (NORTH - y.stop) / pixel, (x.start - WEST) / pixel, (y.stop - y.start) / pixel, (x.stop - x.start) / pixel
    assert np.allclose(found, np.round(found), atol=1e-6)
    return tuple(round(each) for each in found)


def is_inside_a_block(query, pixel=PIXEL, block=BLOCK):
    row, col, height, width = offsets(query, pixel)
    return row // block == (row + height - 1) // block and col // block == (col + width - 1) // block


def tile_bytes(index):
    """Give the byte count of each tile of level 0, by item, band, row and column."""
    with rs.connect() as con:
        rows = con.execute(
            "SELECT item_id, asset, tile_row, tile_col, tile_byte_count FROM tile_plan($1)", [str(index)]
        ).fetchall()
    return {tuple(row[:4]): row[4] for row in rows}


def test_a_chip_of_a_block_takes_one_request_of_one_tile_per_band(blocks):
    dataset, counts = blocks.dataset(), tile_bytes(blocks.index)
    sampler = rs.block_sampler(dataset, shuffle=True, generator=1)
    assert len(sampler) == len(list(sampler)) == 2 * 3 * 2
    for query in sampler:
        blocks.server.reset()
        sample = dataset[query]
        row, col, height, width = offsets(query)
        assert (height, width) == (BLOCK, BLOCK)
        day = query[2].start.day
        expected = sorted(counts[f"I{day}", band, row // BLOCK, col // BLOCK] for band in ("red", "nir"))
        assert sorted(request.nbytes_sent for request in blocks.server.requests) == expected
        assert np.array_equal(as_array(sample)[0], blocks.pixels(day, "red")[row : row + BLOCK, col : col + BLOCK])


def test_chips_at_random_take_a_quarter_of_the_bytes_of_chips_drawn_anywhere(blocks):
    dataset = blocks.dataset()
    torch.manual_seed(0)

    def fetched(sampler):
        blocks.server.reset()
        for query in sampler:
            dataset[query]
        return sum(request.nbytes_sent for request in blocks.server.requests)

    aligned = fetched(rs.block_sampler(dataset, BLOCK, length=40, generator=0))
    anywhere = fetched(RandomGeoSampler(dataset, BLOCK, length=40, generator=torch.Generator().manual_seed(0)))
    assert anywhere > 3 * aligned


@pytest.mark.parametrize("size", [16, (10, 30), 60])
def test_smaller_chips_are_drawn_anywhere_inside_a_block(blocks, size):
    sampler = rs.block_sampler(blocks.dataset(), size, length=300, generator=2)
    found = list(sampler)
    assert len(found) == len(sampler) == 300
    assert all(is_inside_a_block(query) for query in found)
    height, width = (size, size) if isinstance(size, int) else size
    places = {offsets(query) for query in found}
    assert {place[2:] for place in places} == {(height, width)}
    # Nowhere beyond the image, and in the pieces of blocks at its edges too.
    assert all(row + height <= HEIGHT and col + width <= WIDTH for row, col, *_ in places)
    assert any(row >= 3 * BLOCK for row, *_ in places) == (height <= 20)
    assert any(col >= 2 * BLOCK for _, col, *_ in places) == (width <= 40)
    assert len({row % BLOCK for row, *_ in places}) > 3
    assert {query[2].start.day for query in found} == {1, 2}


def test_chips_of_one_block_share_its_tile(blocks):
    dataset = blocks.dataset()
    sampler = rs.block_sampler(dataset, 16, length=12, chips_per_block=4, generator=3)
    queries = list(sampler)
    for first in range(0, 12, 4):
        blocks.server.reset()
        dataset.__getitems__(queries[first : first + 4])
        assert len(blocks.server.requests) == 2
        assert len({offsets(query) for query in queries[first : first + 4]}) == 4


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_grid_has_each_chip_once_and_those_of_a_block_in_a_row(blocks, shuffle):
    sampler = rs.block_sampler(blocks.dataset(), 32, shuffle=shuffle, generator=4)
    found = [(query[2].start.day, *offsets(query)[:2]) for query in sampler]
    rows, cols = [0, 32, 64, 96, 128, 160], [0, 32, 64, 96, 128]
    assert sorted(found) == [(day, row, col) for day in (1, 2) for row in rows for col in cols]
    of_block = [(day, row // BLOCK, col // BLOCK) for day, row, col in found]
    changes = sum(one != two for one, two in itertools.pairwise(of_block))
    assert changes == len(set(of_block)) - 1
    assert (of_block == sorted(of_block)) != shuffle


def test_larger_chips_take_whole_blocks(blocks):
    sampler = rs.block_sampler(blocks.dataset(), (100, BLOCK))
    assert {offsets(query)[:2] for query in sampler} == {(0, 0), (0, BLOCK)}
    for query in rs.block_sampler(blocks.dataset(), (100, BLOCK), length=20):
        row, _, height, _ = offsets(query)
        assert row + height <= 2 * BLOCK


def test_the_same_seed_draws_the_same_chips(blocks):
    def drawn(seed):
        return list(rs.block_sampler(blocks.dataset(), 16, length=10, generator=seed))

    assert drawn(7) == drawn(torch.Generator().manual_seed(7)) != drawn(8)


def test_blocks_of_an_overview_count_where_the_dataset_has_its_pixels(blocks):
    dataset = blocks.dataset(resolution=2 * PIXEL)
    sampler = rs.block_sampler(dataset)
    assert {offsets(query, 2 * PIXEL) for query in sampler} == {(0, 0, BLOCK, BLOCK)}
    blocks.server.reset()
    dataset[next(iter(sampler))]
    assert len(blocks.server.requests) == 2


def test_a_loader_takes_the_sampler(blocks):
    dataset = blocks.dataset()
    found = batches_of(dataset, rs.block_sampler(dataset, 32), batch_size=15)
    assert [tuple(batch["image"].shape) for batch in found] == [(15, 2, 32, 32)] * 4
    assert all(batch["mask_valid"].all() for batch in found)


def test_chips_lie_whole_inside_parts_of_a_split_and_a_region(blocks):
    region = shapely.box(WEST + 100, NORTH - 1300, WEST + 1300, NORTH - 100)
    triangle = shapely.Polygon([(WEST, NORTH), (WEST + 1600, NORTH), (WEST, NORTH - 3000)])
    (part,) = roi_split(blocks.dataset(), [region])
    for dataset, roi, area in (
        (part, None, region),
        (blocks.dataset(), region, region),
        (roi_split(blocks.dataset(), [triangle])[0], None, triangle),
        (roi_split(blocks.dataset(), [triangle])[0], region, region & triangle),
    ):
        for length in (None, 30):
            queries = list(rs.block_sampler(dataset, 16, roi=roi, length=length))
            assert queries
            for x, y, _ in queries:
                assert area.buffer(1e-3).covers(shapely.box(x.start, y.start, x.stop, y.stop))


def test_combined_datasets_are_sampled_by_the_blocks_of_ours(blocks, tmp_path):
    images, masks = blocks.dataset(bands=["red"]), blocks.dataset(bands=["nir"], is_image=False)
    for dataset in (images & masks, images | masks):
        queries = list(rs.block_sampler(dataset, 32))
        assert len(queries) == 2 * 30
        batch = next(iter(DataLoader(dataset, 4, sampler=rs.block_sampler(dataset, 32), collate_fn=lambda each: each)))
        assert len(batch) == 4
        assert batch[0]["image"].shape == (1, 32, 32)
    # The second dataset has the right half of the second day alone.
    half = [File("H", "label", noise(1, (HEIGHT, WIDTH)), 2, options={"transform": at(WEST + BLOCK * PIXEL)})]
    labels = rs.to_torchgeo(make_index(tmp_path, half), is_image=False)
    queries = list(rs.block_sampler(blocks.dataset() & labels))
    assert {(query[2].start.day, *offsets(query)[:2]) for query in queries} == {
        (2, row, BLOCK) for row in (0, BLOCK, 2 * BLOCK)
    }


def test_series_have_all_times_of_each_block(blocks):
    dataset = blocks.dataset(time_series=True)
    queries = list(rs.block_sampler(dataset))
    assert len(queries) == 6
    for query in queries:
        row, col, *_ = offsets(query)
        image = as_array(dataset[query])
        assert image.shape == (2, 2, BLOCK, BLOCK)
        for day in (1, 2):
            assert np.array_equal(image[day - 1, 1], blocks.pixels(day, "nir")[row : row + BLOCK, col : col + BLOCK])


def test_images_in_any_direction_have_blocks(tmp_path):
    pixels = noise(5, (HEIGHT, WIDTH))
    upside_down = (PIXEL, 0.0, WEST, 0.0, PIXEL, NORTH - PIXEL * HEIGHT)
    options = {"transform": upside_down, "tile": BLOCK}
    dataset = rs.to_torchgeo(make_index(tmp_path, [File("I1", "red", pixels, 1, options=options)]))
    queries = list(rs.block_sampler(dataset))
    assert len(queries) == 6
    low = {round((query[1].start - upside_down[5]) / PIXEL) for query in queries}
    assert low == {0, BLOCK, 2 * BLOCK}
    for query in queries:
        row, col = (round((query[1].start - upside_down[5]) / PIXEL), offsets(query)[1])
        expected = pixels[row : row + BLOCK, col : col + BLOCK][::-1]
        assert np.array_equal(as_array(dataset[query])[0], expected)


def test_what_has_no_blocks_is_refused_by_name(blocks, tmp_path):
    dataset = blocks.dataset()
    other = blocks.dataset(crs="EPSG:3857", resolution=10.0)
    with pytest.raises(InvalidArgumentError, match=r"^dataset: item I1, and 1 others, .*got 10 x 10 in EPSG:32643"):
        rs.block_sampler(other)
    with pytest.raises(InvalidArgumentError, match=r"expected 15 x 15 in EPSG:32643"):
        rs.block_sampler(blocks.dataset(resolution=15.0))
    chips = pd.DataFrame({"item_id": ["I1"], "row_off": [0], "col_off": [0]})
    with pytest.raises(InvalidArgumentError, match="its rows are the chips"):
        rs.block_sampler(blocks.dataset(chips=chips, chip_size=16, crs=CRS))
    with pytest.raises(InvalidArgumentError, match=r"^dataset: got list, expected a dataset of to_torchgeo"):
        rs.block_sampler([])
    with pytest.raises(EmptyReadError, match=r"^size: no chip of 500 x 500 pixels"):
        rs.block_sampler(dataset, 500)
    files = [
        File("I1", "red", noise(1, (128, 128)), 1, options={"tile": 32, "transform": at(WEST)}),
        File("I2", "red", noise(2, (128, 128)), 2, options={"tile": 64, "transform": at(WEST)}),
    ]
    mixed = rs.to_torchgeo(make_index(tmp_path, files))
    with pytest.raises(InvalidArgumentError, match=r"^size: files have blocks of .*\[32, 32\], \[64, 64\]"):
        rs.block_sampler(mixed)
    assert len(rs.block_sampler(mixed, 32)) == 32
    for arguments, name in (
        ({"size": 0}, "size"),
        ({"size": "a"}, "size"),
        ({"length": 0}, "length"),
        ({"length": 1.5}, "length"),
        ({"length": 4, "chips_per_block": 0}, "chips_per_block"),
        ({"chips_per_block": 2}, "chips_per_block"),
        ({"length": 4, "shuffle": True}, "shuffle"),
        ({"shuffle": "no"}, "shuffle"),
        ({"roi": (0, 0, 1, 1)}, "roi"),
        ({"generator": 1.5}, "generator"),
    ):
        with pytest.raises(InvalidArgumentError, match=f"^{name}: got "):
            raise AssertionError(rs.block_sampler(dataset, **arguments), arguments)
