"""Networks without shortcuts."""

from __future__ import annotations

from torch import nn

from benchmarks.models.parts import Parallel, classifier, normalised


def lenet(classes: int = 10) -> nn.Module:
    """LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, with ReLU and max pooling, as in the
    shipped spec. Takes grey images of 28x28."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(inplace=True),
        nn.Linear(120, 84), nn.ReLU(inplace=True),
        nn.Linear(84, classes), nn.Softmax(dim=1),
    )  # fmt: skip


def alexnet(classes: int = 1000, hidden: int = 4096) -> nn.Module:
    """Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014: no groups, no LRN."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6),
        *_dense(256 * 6 * 6, hidden, classes),
    )  # fmt: skip


def vgg16(classes: int = 1000, hidden: int = 4096) -> nn.Module:
    """Simonyan and Zisserman, 2015, table 1, column D."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), *_dense(512 * 7 * 7, hidden, classes))


def _dense(inputs: int, hidden: int, classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (inputs, hidden):
        layers += [nn.Dropout(), nn.Linear(size, hidden), nn.ReLU(inplace=True)]
    return [*layers, nn.Linear(hidden, classes)]


def squeezenet1_1(classes: int = 1000) -> nn.Module:
    """Iandola et al., 2016; version 1.1 pools earlier and begins with fewer filters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True)]
    inputs = 64
    for squeeze, expand, pooled in (
        (16, 64, True), (16, 64, False), (32, 128, True), (32, 128, False),
        (48, 192, True), (48, 192, False), (64, 256, False), (64, 256, False),
    ):  # fmt: skip
        if pooled:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        layers += [
            nn.Conv2d(inputs, squeeze, 1),
            nn.ReLU(inplace=True),
            Parallel(
                nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU(inplace=True)),
                nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU(inplace=True)),
            ),
        ]
        inputs = 2 * expand
    layers += [nn.Dropout(), nn.Conv2d(inputs, classes, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def googlenet(classes: int = 1000) -> nn.Module:
    """Szegedy et al., Going deeper with convolutions, 2015, table 1, with batch norm and without auxiliary outputs."""
    layers: list[nn.Module] = [
        normalised(3, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True),
        normalised(64, 64), normalised(64, 192, 3), nn.MaxPool2d(3, 2, ceil_mode=True),
    ]  # fmt: skip
    inputs = 192
    for block in (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None,
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None,
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        if block is None:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            continue
        one, reduce3, three, reduce5, five, pooled = block
        layers.append(
            Parallel(
                normalised(inputs, one),
                nn.Sequential(normalised(inputs, reduce3), normalised(reduce3, three, 3)),
                nn.Sequential(normalised(inputs, reduce5), normalised(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), normalised(inputs, pooled)),
            )
        )
        inputs = one + three + five + pooled
    return nn.Sequential(*layers, classifier(inputs, classes))
