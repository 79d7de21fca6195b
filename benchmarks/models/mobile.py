"""Networks for small processors: depthwise convolutions, squeeze and excitation, channel shuffles."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.models.parts import Residual, classifier, normalised


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """Sandler et al., Inverted residuals and linear bottlenecks, 2018, table 2."""
    layers: list[nn.Module] = [normalised(3, 32, 3, 2, activation=nn.ReLU6)]
    inputs = 32
    for expansion, outputs, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for stride in (first, *[1] * (count - 1)):
            inner = expansion * inputs
            branch = nn.Sequential(
                *([normalised(inputs, inner, activation=nn.ReLU6)] if expansion > 1 else []),
                normalised(inner, inner, 3, stride, groups=inner, activation=nn.ReLU6),
                normalised(inner, outputs, activation=None),
            )
            kept = stride == 1 and inputs == outputs
            layers.append(Residual(branch, activation=False) if kept else branch)
            inputs = outputs
    return nn.Sequential(*layers, normalised(inputs, 1280, activation=nn.ReLU6), classifier(1280, classes))


class _SqueezeExcite(nn.Module):
    """Hu et al., Squeeze-and-excitation networks, 2018: channels scaled by what the whole image says."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), nn.SiLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weights(x) * x


def efficientnet_b0(classes: int = 1000) -> nn.Module:
    """Tan and Le, EfficientNet, 2019, table 1."""
    layers: list[nn.Module] = [normalised(3, 32, 3, 2, activation=nn.SiLU)]
    inputs = 32
    for expansion, kernel, outputs, count, first in (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    ):  # fmt: skip
        for stride in (first, *[1] * (count - 1)):
            inner = expansion * inputs
            branch = nn.Sequential(
                *([normalised(inputs, inner, activation=nn.SiLU)] if expansion > 1 else []),
                normalised(inner, inner, kernel, stride, groups=inner, activation=nn.SiLU),
                _SqueezeExcite(inner, inputs // 4),
                normalised(inner, outputs, activation=None),
            )
            kept = stride == 1 and inputs == outputs
            layers.append(Residual(branch, activation=False) if kept else branch)
            inputs = outputs
    return nn.Sequential(*layers, normalised(inputs, 1280, activation=nn.SiLU), classifier(1280, classes))


class _ShuffleUnit(nn.Module):
    """Ma et al., ShuffleNet V2, 2018, figure 3 (c) and (d): half of the channels pass, or the image is halved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        first = half if self.splits else inputs
        self.left = (
            nn.Identity()
            if self.splits
            else nn.Sequential(
                normalised(inputs, inputs, 3, 2, groups=inputs, activation=None), normalised(inputs, half)
            )
        )
        self.right = nn.Sequential(
            normalised(first, half),
            normalised(half, half, 3, stride, groups=half, activation=None),
            normalised(half, half),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, 1) if self.splits else (x, x)
        joined = torch.cat([self.left(left), self.right(right)], 1)
        batch, channels, height, width = joined.shape
        return joined.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(joined.shape)


def shufflenet_v2(classes: int = 1000) -> nn.Module:
    """Ma et al., table 5, at the width 1.0."""
    layers: list[nn.Module] = [normalised(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 24
    for outputs, count in ((116, 4), (232, 8), (464, 4)):
        for stride in (2, *[1] * (count - 1)):
            layers.append(_ShuffleUnit(inputs, outputs, stride))
            inputs = outputs
    return nn.Sequential(*layers, normalised(inputs, 1024), classifier(1024, classes))
