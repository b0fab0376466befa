"""Query results as TorchGeo datasets, and their hand-off to training jobs."""
