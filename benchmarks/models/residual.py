"""Networks with shortcuts, and DenseNet."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.models.parts import Residual, classifier, normalised


def resnet18(classes: int = 1000) -> nn.Module:
    """He et al., Deep residual learning, 2015, table 1, with two convolutions a block."""
    layers, inputs = _resnet_stem(), 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for step in (stride, 1):
            branch = nn.Sequential(normalised(inputs, width, 3, step), normalised(width, width, 3, activation=None))
            layers.append(Residual(branch, _shortcut(inputs, width, step)))
            inputs = width
    return nn.Sequential(*layers, classifier(inputs, classes))


def resnet50(classes: int = 1000) -> nn.Module:
    """He et al., table 1, with bottlenecks; the stride is in the 3x3 convolution."""
    layers, inputs = _resnet_stem(), 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for step in (stride, *[1] * (count - 1)):
            branch = nn.Sequential(
                normalised(inputs, width),
                normalised(width, width, 3, step),
                normalised(width, 4 * width, activation=None),
            )
            layers.append(Residual(branch, _shortcut(inputs, 4 * width, step)))
            inputs = 4 * width
    return nn.Sequential(*layers, classifier(inputs, classes))


def _resnet_stem() -> list[nn.Module]:
    return [normalised(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return normalised(inputs, outputs, 1, stride, activation=None)


def regnet_x_400mf(classes: int = 1000) -> nn.Module:
    """Radosavovic et al., Designing network design spaces, 2020, table 8: bottlenecks of ratio 1 with groups of 16."""
    layers: list[nn.Module] = [normalised(3, 32, 3, 2)]
    inputs = 32
    for width, count in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for stride in (2, *[1] * (count - 1)):
            branch = nn.Sequential(
                normalised(inputs, width),
                normalised(width, width, 3, stride, groups=width // 16),
                normalised(width, width, activation=None),
            )
            layers.append(Residual(branch, _shortcut(inputs, width, stride)))
            inputs = width
    return nn.Sequential(*layers, classifier(inputs, classes))


class _DenseLayer(nn.Module):
    """Adds `growth` channels to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.branch(x)], 1)


def densenet121(classes: int = 1000) -> nn.Module:
    """Huang et al., Densely connected convolutional networks, 2017, table 1."""
    layers, inputs, growth = _resnet_stem(), 64, 32
    for number, count in enumerate((6, 12, 24, 16)):
        if number:
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, inputs // 2, 1, bias=False)]
            layers.append(nn.AvgPool2d(2))
            inputs //= 2
        for _ in range(count):
            layers.append(_DenseLayer(inputs, growth))
            inputs += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), classifier(inputs, classes))
