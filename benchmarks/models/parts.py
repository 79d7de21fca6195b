"""What several of the networks consist of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def normalised(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), batch norm, and an activation or none."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def classifier(inputs: int, classes: int, dropout: float = 0.2) -> nn.Sequential:
    """The mean over the image, and a dense layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes))


class Residual(nn.Module):
    """``activation(branch(x) + shortcut(x))``; the shortcut is the identity where it is not given."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None, *, activation: bool = True) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut or nn.Identity()
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.branch(x)
        y += self.shortcut(x)
        return self.activation(y)


class Parallel(nn.Module):
    """All branches on the same input, joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)
