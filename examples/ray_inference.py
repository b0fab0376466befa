"""Compute on the chips of a collection with Ray: the mean NDVI of each, as Parquet partitioned by item.

    python examples/ray_inference.py output/ index.parquet --bands red nir

Without an index it makes a small collection of its own, in the folder of the output. The work is cut into pieces. A
piece appears when it is complete, so a job that was killed is run again, and goes on with the first piece that is
missing.
"""

from __future__ import annotations

import argparse
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import ray

import rasteret_sql as rs
from rasteret_sql.integrations.ray import dataset


def ndvi(batch: dict[str, Any]) -> dict[str, Any]:
    """Give the mean NDVI of the valid pixels of each chip; a model would take `pixels`, (chip, band, y, x), as well."""
    valid = batch["mask"].all(axis=1)
    red, nir = np.moveaxis(batch["pixels"].astype(np.float64), 1, 0)
    total = red + nir
    valid &= total > 0
    index = np.where(valid, (nir - red) / np.where(valid, total, 1), 0)
    count = valid.sum(axis=(1, 2))
    mean = np.divide(index.sum(axis=(1, 2)), count, out=np.zeros(len(count)), where=count > 0)
    return {name: batch[name] for name in ("item_id", "row_off", "col_off")} | {"ndvi": mean, "pixels": count}


def main() -> None:
    """Write the pieces that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("index", nargs="?", help="an index; left out: a small collection that is made for this")
    parser.add_argument("--bands", nargs=2, default=["red", "nir"], help="red and near infrared")
    parser.add_argument("--size", type=int, default=128, help="pixels of a chip")
    parser.add_argument("--pieces", type=int, default=8)
    arguments = parser.parse_args()

    with ExitStack() as stack:
        arguments.output.mkdir(parents=True, exist_ok=True)
        index = arguments.index or _collection(arguments.output / "collection")
        # A real cluster: address="auto". Workers need rasteret_sql of the same version, and reach the files. What
        # signs requests comes from their environment, or from runtime_env={"env_vars": {...}} here. They need no index.
        ray.init(address="local", log_to_driver=False)
        stack.callback(ray.shutdown)
        # Planned here, once; nothing of the files is read before a piece is written.
        windows = rs.chips(index, size=arguments.size, bands=arguments.bands).read_all()
        for piece in rs.shards(index, arguments.pieces, bands=arguments.bands, chips=windows):
            # The hash tells the pieces of different plans apart.
            target = arguments.output / f"plan={piece.plan_hash}" / f"piece={piece.name}"
            if target.exists():
                print(f"{target.name}: was there")
                continue
            aside = target.with_name(f".{target.name}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            dataset(piece).map_batches(ndvi).write_parquet(str(aside), partition_cols=["item_id"])
            aside.rename(target)
            print(f"{target.name}: {piece.chip_table().num_rows} chips written")


def _collection(folder: Path) -> Path:
    """Make a collection of COGs and build its index, unless an earlier run has: its plan is the same then."""
    from rasteret_sql.testing import write_collection

    index = folder / "index.parquet"
    if not index.exists():
        folder.mkdir(exist_ok=True)
        written = write_collection(folder, items=4, size=256, tile=64)
        # The index appears when it is complete.
        rs.build_index(str(written.document), index)
    return index


if __name__ == "__main__":
    main()
