"""Parts of a dataset by blocks of ground do not touch, and stay what they are when items come and go."""

from __future__ import annotations

import tomllib

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torchgeo.samplers import RandomGeoSampler

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.training.dataset import RasteretDataset
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise
from tests.training.scenes import CRS, PIXEL, SIDE, as_array

#: Metres of the sides of blocks; the scenes are 960 m wide, and B lies half a scene east of A and C.
BLOCK = 150.0
SHARES = {"train": 0.6, "test": 0.3}


@pytest.fixture(scope="module")
def dataset(scenes):
    return rs.to_torchgeo(scenes.index, bands=["red"])


def ground(part):
    return shapely.union_all(part.index.geometry.to_numpy())


@pytest.mark.parametrize("gap_m", [None, 40.0, 120.0])
def test_parts_do_not_touch_and_lie_as_far_apart_as_asked(dataset, gap_m):
    parts = rs.split_blocks(dataset, SHARES, block_m=BLOCK, gap_m=gap_m, seed=1)
    assert list(parts) == ["train", "test"]
    train, test = (ground(part) for part in parts.values())
    assert train.area > 0
    assert test.area > 0
    assert train.distance(test) >= (PIXEL if gap_m is None else gap_m)
    for part in parts.values():
        assert isinstance(part, RasteretDataset)
        # Every row lies in one block, and none is cut within a pixel.
        xmin, ymin, xmax, ymax = shapely.bounds(part.index.geometry.to_numpy()).T
        assert np.array_equal(xmin // BLOCK, (xmax - 1) // BLOCK)
        assert np.array_equal(ymin // BLOCK, (ymax - 1) // BLOCK)
        assert not ((np.stack([xmin - WEST, NORTH - ymax]) / PIXEL) % 1).any()


def test_without_gaps_parts_have_all_ground_and_no_pixel_in_common(dataset):
    parts = rs.split_blocks(dataset, {"a": 0.5, "b": 0.5}, block_m=BLOCK, gap_m=0)
    one, two = (ground(part) for part in parts.values())
    assert one.intersection(two).area == 0
    assert one.union(two).area == pytest.approx(ground(dataset).area)


def test_samples_of_a_part_are_inside_it_and_have_the_files_pixels(dataset, scenes):
    torch.manual_seed(0)
    for part in rs.split_blocks(dataset, SHARES, block_m=BLOCK, seed=1).values():
        samplers = RandomGeoSampler(part, 6, length=20), rs.block_sampler(part, 6, length=20), rs.block_sampler(part, 6)
        area = ground(part).buffer(1e-6)
        for sampler in samplers:
            for x, y, t in sampler:
                assert area.covers(shapely.box(x.start, y.start, x.stop, y.stop))
                item = {1: "A", 2: "B", 3: "C"}[t.start.day]
                west = WEST + (SIDE // 2 * PIXEL if item == "B" else 0)
                row, col = round((NORTH - y.stop) / PIXEL), round((x.start - west) / PIXEL)
                expected = scenes.pixels(item, "red")[row : row + 6, col : col + 6]
                assert np.array_equal(as_array(part[x, y, t])[0], expected)


def test_a_place_stays_in_its_part_when_items_come_and_go(dataset, scenes):
    everything = rs.split_blocks(dataset, SHARES, block_m=BLOCK, seed=1)
    for items in (("A",), ("B", "C")):
        some = rs.to_torchgeo(f"FROM '{scenes.index}' WHERE item_id IN {(*items, '')}", bands=["nir"])
        parts = rs.split_blocks(some, SHARES, block_m=BLOCK, seed=1)
        for name, part in parts.items():
            assert ground(everything[name]).buffer(1e-6).covers(ground(part))
    other = rs.split_blocks(dataset, SHARES, block_m=BLOCK, seed=2)
    assert not ground(other["test"]).equals(ground(everything["test"]))


def test_shares_are_those_of_blocks(tmp_path):
    files = [File("I", "red", noise(1, (400, 400)), 1, options={"transform": at(WEST)})]
    dataset = rs.to_torchgeo(make_index(tmp_path, files))
    parts = rs.split_blocks(dataset, {"train": 0.7, "val": 0.2}, block_m=100.0, seed=3)
    counts = {name: len(part) for name, part in parts.items()}
    assert counts["train"] == pytest.approx(0.7 * 1600, rel=0.1)
    assert counts["val"] == pytest.approx(0.2 * 1600, rel=0.25)


def test_images_and_masks_are_split_alike(scenes):
    images = rs.split_blocks(rs.to_torchgeo(scenes.index, bands=["red"]), SHARES, block_m=BLOCK)
    masks = rs.split_blocks(rs.to_torchgeo(scenes.index, bands=["nir"], is_image=False), SHARES, block_m=BLOCK)
    for name, part in images.items():
        assert part.index.equals(masks[name].index)
        both = part & masks[name]
        query = next(iter(RandomGeoSampler(both, 6, length=1)))
        assert {"image", "mask"} <= set(both[query])


def test_chips_that_cross_an_edge_are_in_no_part(scenes):
    chips = pd.DataFrame(
        {"item_id": "A", "row_off": np.repeat(range(0, 90, 3), 30), "col_off": [*range(0, 90, 3)] * 30}
    )
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], chips=chips, chip_size=4, crs=CRS)
    parts = rs.split_blocks(dataset, {"a": 0.5, "b": 0.5}, block_m=BLOCK, gap_m=0)
    assert 0 < sum(map(len, parts.values())) < len(dataset)
    for part in parts.values():
        assert set(np.round(shapely.area(part.index.geometry.to_numpy()), 3)) == {(4 * PIXEL) ** 2}
    assert not ground(parts["a"]).buffer(-1e-6).intersects(ground(parts["b"]).buffer(-1e-6))
    assert parts["a"][0]["image"].shape == (1, 4, 4)


def test_labels_go_with_the_pieces_of_their_items(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], label_column="cloud")
    for part in rs.split_blocks(dataset, SHARES, block_m=BLOCK).values():
        for row in range(0, len(part), 7):
            assert part[row]["label"] == part.index["cloud"].iloc[row]


def test_a_handed_over_dataset_is_split_by_blocks(dataset, scenes, tmp_path):
    path = rs.handoff(
        tmp_path / "train.toml", scenes.index, splits=SHARES, split="blocks", block_m=BLOCK, gap_m=30, seed=5,
        bands=["red"],
    )  # fmt: skip
    said = tomllib.loads(path.read_text())
    assert said["query"] == {"sql": "FROM index", "seed": 5, "block_m": 150.0, "gap_m": 30.0}
    expected = rs.split_blocks(dataset, SHARES, block_m=BLOCK, gap_m=30, seed=5)
    for name, part in expected.items():
        opened = rs.from_handoff(path, split=name)
        assert opened.index.equals(part.index)
        assert opened.handoff.split == name
    assert rs.from_handoff(path).index.equals(dataset.index)
    path.write_text(path.read_text().replace("block_m = 150.0", "block_m = -1.0"))
    with pytest.raises(InvalidArgumentError, match=r"train\.toml: block_m: got -1\.0"):
        rs.from_handoff(path, split="train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tiles"}, "split: got 'tiles', expected"),
        ({"split": "blocks", "block_m": 100}, r"splits: got \{\} with split=\"blocks\""),
        ({"split": "blocks", "block_m": 100, "splits": {"a": "true"}}, "splits: got .* with split="),
        ({"split": "blocks", "splits": {"a": 0.5}}, "block_m: got None, expected metres above 0"),
        ({"splits": {"a": 0.5}, "block_m": 100}, 'block_m: got 100 with split="items"'),
        ({"splits": {"a": 0.5}, "gap_m": 100}, 'gap_m: got 100 with split="items"'),
    ],
)
def test_wrong_blocks_of_a_handed_over_dataset_are_refused(scenes, tmp_path, arguments, message):
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        rs.handoff(tmp_path / "x.toml", scenes.index, **arguments)


def test_wrong_blocks_are_refused_by_name(dataset, scenes):
    for arguments, message in (
        ({"block_m": 0}, "block_m: got 0, expected metres above 0"),
        ({"block_m": "1"}, "block_m: got '1', expected metres above 0"),
        (
            {"block_m": 20.0, "gap_m": 15.0},
            "block_m: got 20.0 with gaps of 15 m, expected blocks that hold a pixel of 10 m",
        ),
        ({"block_m": BLOCK, "gap_m": -1}, "gap_m: got -1, expected metres from 0"),
        ({"block_m": BLOCK, "shares": {"a": 1.2}}, "shares: got .*expected shares above 0"),
        ({"block_m": BLOCK, "shares": {"a": 0.8, "b": 0.8}}, "shares: got shares that add up to 1.6"),
        ({"block_m": BLOCK, "shares": {}}, "shares: got .*expected a mapping of names"),
        ({"block_m": BLOCK, "seed": 0.5}, "seed: got 0.5"),
        ({"block_m": BLOCK, "dataset": dataset & dataset}, "dataset: got RasteretIntersection, expected"),
        ({"block_m": 0.2, "gap_m": 0.0}, "block_m: got 0.2 with gaps"),
    ):
        given = {"dataset": dataset, "shares": SHARES} | arguments
        with pytest.raises(InvalidArgumentError, match=f"^{message}"):
            rs.split_blocks(given.pop("dataset"), given.pop("shares"), **given)
    with pytest.raises(EmptyReadError, match=r"^shares: 'b' gets none of 1 blocks"):
        rs.split_blocks(dataset, {"a": 0.999999, "b": 0.000001}, block_m=1e7)
    degrees = rs.to_torchgeo(scenes.index, bands=["red"], crs="EPSG:4326", resolution=1e-4)
    with pytest.raises(InvalidArgumentError, match=r"^block_m: the dataset is in WGS 84, with units of degree"):
        rs.split_blocks(degrees, SHARES, block_m=BLOCK)
