"""What training does with samples: augmentations, a data module, a model, and pictures of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from kornia.augmentation import AugmentationSequential, Normalize, RandomHorizontalFlip, RandomVerticalFlip
from matplotlib.figure import Figure
from torch.utils.data import DataLoader
from torchgeo.datamodules import GeoDataModule
from torchgeo.datasets import random_bbox_splitting, stack_samples, unbind_samples
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler
from torchgeo.trainers import SemanticSegmentationTask

import rasteret_sql as rs
from rasteret_sql.training.dataset import TENSORS_ONLY
from tests.arrays.cube_files import File, make_index, noise
from tests.training.scenes import window

SIDE = 96
NOT_BATCHED = ("crs", "bounds")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Images of three bands, a part of which has no data, and masks of two classes."""
    folder = tmp_path_factory.mktemp("training")
    files = []
    for number, asset in enumerate(("red", "green", "blue")):
        data = noise(number, (SIDE, SIDE))
        data[:20, :30] = 0
        files.append(File("A", asset, data, options={"nodata": 0}))
    files.append(File("A", "class", (noise(9, (SIDE, SIDE)) > 2500).astype("uint8")))
    index = make_index(folder, files)

    def images_and_masks():
        images = rs.to_torchgeo(index, bands=["red", "green", "blue"])
        masks = rs.to_torchgeo(f"FROM '{index}' WHERE asset = 'class'", is_image=False)
        return images, masks

    return images_and_masks


def batch_of(dataset, *queries):
    batch = stack_samples([dataset[query] for query in queries])
    return {name: value for name, value in batch.items() if name not in NOT_BATCHED or TENSORS_ONLY}


def test_augmentations_move_image_mask_and_validity_together(pair):
    images, masks = pair()
    batch = batch_of(images & masks, window(4, 8, 32, 32), window(40, 40, 32, 32))
    flip = AugmentationSequential(RandomHorizontalFlip(p=1.0), RandomVerticalFlip(p=1.0), data_keys=None, keepdim=True)
    found = flip(dict(batch))
    for name in ("image", "mask", "mask_valid"):
        assert found[name].shape == batch[name].shape, name
        assert torch.equal(found[name].double(), batch[name].flip(-1, -2).double()), name
    for name in ("timestamps", "transform"):
        assert torch.equal(found[name], batch[name])


class Module(GeoDataModule):
    """Splits by place, random chips to train, a grid to validate."""

    def __init__(self, dataset):
        super().__init__(type(dataset), batch_size=2, patch_size=32, num_workers=0, length=4)
        self._whole = dataset
        # Statistics of torchgeo's base class are for images of 255.
        self.mean, self.std = torch.tensor(0.0), torch.tensor(5000.0)
        self.aug = AugmentationSequential(Normalize(mean=self.mean, std=self.std), data_keys=None, keepdim=True)

    def setup(self, stage):
        splits = random_bbox_splitting(self._whole, [0.5, 0.5], torch.Generator().manual_seed(0))
        self.train_dataset, self.val_dataset = splits
        self.train_sampler = RandomGeoSampler(self.train_dataset, self.patch_size, self.length)
        self.train_batch_sampler = None
        self.val_sampler = GridGeoSampler(self.val_dataset, self.patch_size, self.patch_size)


@pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning")
def test_a_data_module_feeds_a_segmentation_task(pair, tmp_path):
    from lightning.pytorch import Trainer

    images, masks = pair()
    task = SemanticSegmentationTask(
        model="unet", backbone="resnet18", weights=None, in_channels=3, task="multiclass", num_classes=2, loss="ce"
    )
    trainer = Trainer(
        accelerator="cpu", max_steps=2, limit_val_batches=1, default_root_dir=tmp_path, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        log_every_n_steps=1,
    )  # fmt: skip
    before = [parameter.detach().clone() for parameter in task.parameters()]
    with warnings.catch_warnings():
        trainer.fit(task, datamodule=Module(images & masks))
    assert trainer.global_step == 2
    assert np.isfinite(trainer.callback_metrics["train_loss"].item())
    assert any(not torch.equal(one, other) for one, other in zip(before, task.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["image", "mask", "both", "series", "batch"])
def test_samples_are_drawn(pair, kind):
    images, masks = pair()
    query = window(4, 8, 48, 48)
    dataset, sample = images, images[query]
    panels = 1
    if kind == "mask":
        dataset, sample = masks, masks[query]
    elif kind == "both":
        sample, panels = (images & masks)[query] | {"prediction": masks[query]["mask"]}, 3
    elif kind == "series":
        sample = {
            name: torch.stack([value, value]) for name, value in sample.items() if name in {"image", "mask_valid"}
        }
        panels = 2
    elif kind == "batch":
        loader = DataLoader(images, sampler=[query, query], batch_size=2, collate_fn=stack_samples)
        batch = next(iter(loader))
        sample = unbind_samples({name: value for name, value in batch.items() if name not in NOT_BATCHED})[1]
    figure = dataset.plot(sample, suptitle="A")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == panels
    assert figure.get_suptitle() == "A"
    assert all(axis.get_title() for axis in figure.axes)
    assert not any(axis.get_title() for axis in dataset.plot(sample, show_titles=False).axes)


def test_a_class_has_one_colour_in_mask_and_prediction(pair):
    _, masks = pair()
    sample = masks[window(4, 8, 48, 48)]
    figure = masks.plot(sample | {"prediction": torch.zeros_like(sample["mask"])})
    assert len({axis.images[0].get_clim() for axis in figure.axes}) == 1
