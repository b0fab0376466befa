"""Train a small segmentation model on the CPU, from GeoTIFFs and SQL to intersection over union, in two minutes.

    python examples/train_segmentation.py
    torchrun --nproc-per-node 2 examples/train_segmentation.py

It writes a synthetic landscape with clouds, indexes it, cuts chips in SQL, hands the datasets over as two small files
(`images.toml` and `masks.toml`, which another machine could open), trains on some items and is judged on others.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchgeo.datasets import stack_samples

import rasteret_sql as rs
from rasteret_sql.testing import write_collection

BANDS = ["red", "green", "blue", "nir"]
#: Classes of Sentinel-2's scene classification that the landscape has, as classes of the model.
CLASSES = {"vegetation": 4, "bare soil": 5, "water": 6, "cloud": 9}
IGNORED = 255
CHIP = 96


def main() -> None:
    """Make the data, train, and print what the model does on items that it has not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where data and files go; left out: a temporary folder")
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--size", type=int, default=768, help="pixels of an item's side")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="of each DataLoader")
    arguments = parser.parse_args()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

    with ExitStack() as stack:
        if world > 1:
            dist.init_process_group("gloo")
            stack.callback(dist.destroy_process_group)
        folder = _folder(arguments.folder, stack, rank, world)
        began = time.monotonic()
        if rank == 0:
            _write_data(folder, arguments.items, arguments.size)
        if world > 1:
            dist.barrier()

        # Threads of torch that wait for cores which others use cost more than they do.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
        # Everything below could run elsewhere: it needs the two files, the index and access to the GeoTIFFs.
        torch.manual_seed(0)
        train = rs.from_handoff(folder / "images.toml", split="train", transforms=_prepare_image)
        train = train & rs.from_handoff(folder / "masks.toml", split="train", transforms=_prepare_mask)
        test = rs.from_handoff(folder / "images.toml", split="test", transforms=_prepare_image)
        test = test & rs.from_handoff(folder / "masks.toml", split="test", transforms=_prepare_mask)
        if rank == 0:
            print(f"{len(train)} chips to train on and {len(test)} to test on, {time.monotonic() - began:.0f} s")

        sampler = DistributedSampler(train, num_replicas=world, rank=rank, shuffle=True, seed=0)
        loader = _loader(train, sampler, arguments.workers)
        model: nn.Module = UNet(len(BANDS), len(CLASSES))
        if world > 1:
            model = DistributedDataParallel(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=arguments.epochs * len(loader))
        # The classes differ in how common they are, and chips have edges without data.
        loss_of = nn.CrossEntropyLoss(ignore_index=IGNORED)
        for epoch in range(arguments.epochs):
            sampler.set_epoch(epoch)
            losses = []
            for batch in loader:
                optimizer.zero_grad()
                loss = loss_of(model(batch["image"]), batch["mask"])
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            if rank == 0:
                print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}, {time.monotonic() - began:.0f} s")

        found = _confusion(
            model, _loader(test, DistributedSampler(test, world, rank, shuffle=False), arguments.workers)
        )
        if world > 1:
            dist.all_reduce(found)
        if rank == 0:
            overlap = found.diag() / (found.sum(0) + found.sum(1) - found.diag())
            for name, value in zip(CLASSES, overlap.tolist(), strict=True):
                print(f"{name:<12} IoU {value:.3f}")
            print(f"mean IoU {overlap.nanmean():.3f}, accuracy {found.diag().sum() / found.sum():.3f}")


def _write_data(folder: Path, items: int, size: int) -> None:
    """Write GeoTIFFs, their index, a table of chips, and the two files that are handed over."""
    written = write_collection(folder / "collection", items=items, size=size, tile=256)
    rs.build_index(written.document, folder / "index.parquet")
    con = rs.connect()
    # A chip per cell of each item, those of one UTM zone; what a chip is, is a query.
    con.sql(
        """
        SELECT item_id, $chip * r AS row_off, $chip * c AS col_off
        FROM (SELECT DISTINCT item_id FROM read_parquet($index) WHERE crs = 'EPSG:32643'),
            range($size // $chip) AS rows(r), range($size // $chip) AS columns(c)
        ORDER BY ALL
        """,
        params={"chip": CHIP, "size": size, "index": str(folder / "index.parquet")},
    ).write_parquet(str(folder / "chips.parquet"))
    shared: dict[str, Any] = {
        "sql": "FROM index WHERE crs = 'EPSG:32643'",
        # By time: chips of one scene never are on both sides.
        "splits": {"train": "datetime < '2024-09-01'", "test": "datetime >= '2024-09-01'"},
    }
    index = folder / "index.parquet"
    rs.handoff(
        folder / "images.toml", index, **shared, bands=BANDS, scale=True, chips=folder / "chips.parquet", chip_size=CHIP
    )
    rs.handoff(folder / "masks.toml", index, **shared, bands=["scl"], is_image=False)


def _folder(given: Path | None, stack: ExitStack, rank: int, world: int) -> Path:
    """Give the folder that all processes use."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        return given.resolve()
    named = [stack.enter_context(tempfile.TemporaryDirectory()) if rank == 0 else ""]
    if world > 1:
        dist.broadcast_object_list(named)
    return Path(named[0])


def _loader(dataset: Any, sampler: DistributedSampler[Any], workers: int) -> DataLoader[Any]:
    # A batch is one read. Workers are worth it where transforms are slow; forked ones cost next to nothing.
    return DataLoader(
        dataset,
        batch_size=16,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=stack_samples,
    )


def _prepare_image(sample: dict[str, Any]) -> dict[str, Any]:
    """Bring reflectance to a range that models like."""
    sample["image"] = sample["image"] * 4 - 1
    return sample


def _prepare_mask(sample: dict[str, Any]) -> dict[str, Any]:
    """Make classes of the model of those of Sentinel-2; all others are ignored."""
    mask = torch.full_like(sample["mask"], IGNORED)
    for number, code in enumerate(CLASSES.values()):
        mask[sample["mask"] == code] = number
    sample["mask"] = mask
    return sample


def _confusion(model: nn.Module, loader: DataLoader[Any]) -> torch.Tensor:
    """Count pixels by true and found class, shape (class, class)."""
    count = len(CLASSES)
    found = torch.zeros(count * count, dtype=torch.float64)
    model.eval()
    with torch.no_grad():
        for batch in loader:
            predicted, true = model(batch["image"]).argmax(1), batch["mask"]
            is_known = true != IGNORED
            found += torch.bincount(true[is_known] * count + predicted[is_known], minlength=count * count)
    return found.reshape(count, count)


class UNet(nn.Module):
    """A U-Net of two levels."""

    def __init__(self, bands: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.first = _convolutions(bands, width)
        self.second = _convolutions(width, 2 * width)
        self.third = _convolutions(2 * width, 4 * width)
        self.up_second = _convolutions(4 * width + 2 * width, 2 * width)
        self.up_first = _convolutions(2 * width + width, width)
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give scores (batch, class, y, x) of images (batch, band, y, x)."""
        first = self.first(image)
        second = self.second(nn.functional.max_pool2d(first, 2))
        third = self.third(nn.functional.max_pool2d(second, 2))
        second = self.up_second(torch.cat([_doubled(third), second], dim=1))
        first = self.up_first(torch.cat([_doubled(second), first], dim=1))
        scores: torch.Tensor = self.classes(first)
        return scores


def _convolutions(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _doubled(values: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)


if __name__ == "__main__":
    main()
