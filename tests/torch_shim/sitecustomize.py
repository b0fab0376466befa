"""Lets torchvision be imported where its compiled operators do not fit the torch that is installed.

Some builds of torchvision want operators of CUDA, without which its import fails for want of `torchvision::nms`. No
test calls these operators. With this folder on PYTHONPATH spawned processes define them too.
"""

import sys
from importlib.abc import MetaPathFinder


class _BeforeTorchvision(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            define_operators()


def define_operators():
    """Define what torchvision registers meta kernels for, unless its own library can be loaded."""
    import importlib.util
    from pathlib import Path

    import torch

    spec = importlib.util.find_spec("torchvision")
    libraries = [] if spec is None else list(Path(spec.origin).parent.glob("_C*.so"))
    for library in libraries:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return
    define_operators.library = torch.library.Library("torchvision", "FRAGMENT")
    define_operators.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    define_operators.library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _BeforeTorchvision())
