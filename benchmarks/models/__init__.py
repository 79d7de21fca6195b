"""Well-known networks as PyTorch modules, written from their papers, with random weights of a sane scale.

`build` gives one by name. Where a paper leaves a choice they are like torchvision's networks of the same name.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.models.mobile import efficientnet_b0, mobilenet_v2, shufflenet_v2
from benchmarks.models.parts import Residual
from benchmarks.models.plain import alexnet, googlenet, lenet, squeezenet1_1, vgg16
from benchmarks.models.residual import densenet121, regnet_x_400mf, resnet18, resnet50

MODELS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "squeezenet1_1": squeezenet1_1,
    "densenet121": densenet121,
    "efficientnet_b0": efficientnet_b0,
    "googlenet": googlenet,
    "shufflenet_v2": shufflenet_v2,
    "regnet_x_400mf": regnet_x_400mf,
}
"""Each takes `classes`; those with large dense layers also `hidden`, the size of these."""

__all__ = ["MODELS", "build", "lenet"]


def build(name: str, *, size: int = 224, seed: int = 0, **options: int) -> nn.Module:
    """The network in eval mode, its activations about as large at the end as at the beginning.

    Convolutions and dense layers are drawn as He et al. (2015) advise. Scales and shifts of batch norms are random:
    fresh ones are the identity, which would let a compiler cheat. Most shifts are positive, and scales at the end of a
    residual branch small, as after training: else rounding errors grow from layer to layer. Their statistics are those
    of random images of `size`.
    """
    torch.manual_seed(seed)
    model = MODELS[name](**options)
    norms = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.normal_(module.bias, 0, 0.05)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.5, 0.2)
                module.momentum = None  # the plain average over the batches
                norms.append(module)
        for module in model.modules():
            if isinstance(module, Residual):
                final = [part for part in module.branch.modules() if isinstance(part, nn.BatchNorm2d)][-1]
                nn.init.uniform_(final.weight, 0.1, 0.4)
        if norms:
            for norm in norms:
                norm.train()
            model(torch.randn(4, 3, size, size))
    return model.eval()
