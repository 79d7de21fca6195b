"""The PyTorch front end: the graph of every op that it reads means what PyTorch computes, in float64.

Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.torch.modules import Of, inputs, seeded, verify_reading  # noqa: E402

pytestmark = pytest.mark.torch

IMAGE = (2, 6, 9, 8)

MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv2d": (nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), IMAGE),
    "conv2d_groups": (nn.Conv2d(6, 12, 3, groups=3, bias=False), IMAGE),
    "conv2d_depthwise": (nn.Conv2d(6, 6, 3, padding=1, groups=6), IMAGE),
    "conv2d_same": (nn.Conv2d(6, 4, (2, 4), padding="same", dilation=(1, 2)), IMAGE),
    "conv2d_valid": (nn.Conv2d(6, 4, 3, padding="valid"), IMAGE),
    "conv2d_circular_free": (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
    "conv2d_replicate": (nn.Conv2d(6, 4, 3, padding=(1, 2), padding_mode="replicate"), IMAGE),
    "conv_transpose2d": (nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "conv_transpose2d_groups": (nn.ConvTranspose2d(6, 4, (2, 3), groups=2, dilation=2, bias=False), IMAGE),
    "linear": (nn.Linear(10, 7), (3, 10)),
    "linear_no_bias": (nn.Linear(10, 7, bias=False), (3, 10)),
    "linear_on_channels_last": (Of(lambda m, x: m.fc(x.permute(0, 2, 3, 1)), fc=nn.Linear(6, 5)), IMAGE),
    "addmm": (Of(lambda m, x: torch.addmm(m.fc.bias, x, m.fc.weight.t()), fc=nn.Linear(10, 7)), (3, 10)),
    "matmul": (Of(lambda m, x: x @ m.fc.weight.t(), fc=nn.Linear(10, 7)), (3, 10)),
    "batch_norm": (nn.BatchNorm2d(6, eps=0.01), IMAGE),
    "batch_norm_plain": (nn.BatchNorm2d(6, affine=False), IMAGE),
    "batch_norm_flat": (nn.BatchNorm1d(10), (3, 10)),
    "instance_norm_tracked": (nn.InstanceNorm2d(6, affine=True, track_running_stats=True), IMAGE),
    "lrn": (nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=1.5), IMAGE),
    "lrn_even": (nn.LocalResponseNorm(4, alpha=0.5), IMAGE),
    "lrn_two": (nn.LocalResponseNorm(2, alpha=0.5, k=2.0), IMAGE),
    "lrn_wide": (nn.LocalResponseNorm(15, alpha=0.5), IMAGE),
    "instance_norm": (nn.InstanceNorm2d(6), IMAGE),
    "instance_norm_affine": (nn.InstanceNorm2d(6, affine=True, eps=0.01), IMAGE),
    "instance_norm_1d": (nn.InstanceNorm1d(3, affine=True), (2, 3, 11)),
    "group_norm": (nn.GroupNorm(3, 6), IMAGE),
    "group_norm_plain": (nn.GroupNorm(2, 6, affine=False), IMAGE),
    "layer_norm": (nn.LayerNorm(8), IMAGE),
    "layer_norm_image": (nn.LayerNorm([6, 9, 8]), IMAGE),
    "layer_norm_image_inside": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(1), nn.LayerNorm([6, 9, 8])), IMAGE),
    "layer_norm_flat": (nn.LayerNorm(10, elementwise_affine=False), (3, 10)),
    "layer_norm_of_channels": (
        Of(lambda m, x: m.n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), n=nn.LayerNorm(6)),
        IMAGE,
    ),
    "softmax_channels": (nn.Softmax(dim=1), IMAGE),
    "softmax_width": (nn.Softmax(dim=-1), IMAGE),
    "softmax_flat": (nn.Softmax(dim=1), (3, 10)),
    "max_pool2d": (nn.MaxPool2d(3, stride=2, padding=1), IMAGE),
    "max_pool2d_ceil": (nn.MaxPool2d((3, 2), stride=2, dilation=(2, 1), ceil_mode=True), IMAGE),
    "avg_pool2d": (nn.AvgPool2d(3, stride=2, padding=1), IMAGE),
    "avg_pool2d_ceil": (nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), IMAGE),
    "avg_pool2d_inside": (nn.AvgPool2d((2, 3), padding=(1, 1), count_include_pad=False), IMAGE),
    "avg_pool2d_divisor": (nn.AvgPool2d(2, padding=1, divisor_override=3), IMAGE),
    "adaptive_avg_global": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive_avg_divides": (nn.AdaptiveAvgPool2d((3, 4)), IMAGE),
    "adaptive_avg_overlaps": (nn.AdaptiveAvgPool2d((5, 3)), IMAGE),
    "adaptive_avg_one_axis": (nn.AdaptiveAvgPool2d((None, 3)), IMAGE),
    "adaptive_avg_enlarges": (nn.AdaptiveAvgPool2d((18, 8)), IMAGE),
    "adaptive_avg_enlarges_unevenly": (nn.AdaptiveAvgPool2d((10, 20)), IMAGE),
    "adaptive_max": (nn.AdaptiveMaxPool2d((3, 1)), IMAGE),
    "mean_pixels": (Of(lambda m, x: x.mean((2, 3))), IMAGE),
    "mean_kept": (Of(lambda m, x: x.mean((-1, -2), keepdim=True)), IMAGE),
    "mean_height": (Of(lambda m, x: x.mean(2, keepdim=True)), IMAGE),
    "mean_channels": (Of(lambda m, x: x.mean(1, keepdim=True)), IMAGE),
    "amax": (Of(lambda m, x: x.amax((2, 3))), IMAGE),
    "amax_channels": (Of(lambda m, x: x.amax(1, keepdim=True)), IMAGE),
    "relu": (nn.ReLU(), IMAGE),
    "relu6": (nn.ReLU6(), IMAGE),
    "leaky_relu": (nn.LeakyReLU(0.1), IMAGE),
    "prelu": (nn.PReLU(6), IMAGE),
    "prelu_shared": (nn.PReLU(), IMAGE),
    "prelu_flat": (nn.PReLU(10), (3, 10)),
    "elu": (nn.ELU(0.7), IMAGE),
    "selu": (nn.SELU(), IMAGE),
    "gelu": (nn.GELU(), IMAGE),
    "gelu_tanh": (nn.GELU("tanh"), IMAGE),
    "silu": (nn.SiLU(), IMAGE),
    "mish": (nn.Mish(), IMAGE),
    "softplus": (nn.Softplus(), IMAGE),
    "sigmoid": (nn.Sigmoid(), IMAGE),
    "tanh": (nn.Tanh(), IMAGE),
    "hardtanh": (nn.Hardtanh(-0.5, 0.25), IMAGE),
    "hardswish": (nn.Hardswish(), IMAGE),
    "hardsigmoid": (nn.Hardsigmoid(), IMAGE),
    "clamp_min": (Of(lambda m, x: x.clamp(min=-0.25)), IMAGE),
    "clamp_max": (Of(lambda m, x: x.clamp(max=0.25)), IMAGE),
    "dropout": (nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(), nn.AlphaDropout()), IMAGE),
    "scalars": (Of(lambda m, x: (1 - x * 3) / 4 + 0.5 - (-x)), IMAGE),
    "scaled_sum": (Of(lambda m, x: torch.add(x, x.relu(), alpha=0.5) - torch.sub(x, x.tanh(), alpha=2)), IMAGE),
    "per_channel": (
        Of(lambda m, x: x * m.p.weight.view(1, -1, 1, 1) + m.p.bias[:, None, None], p=nn.BatchNorm2d(6)),
        IMAGE,
    ),
    "per_column": (Of(lambda m, x: x * m.p.weight, p=nn.BatchNorm2d(8)), IMAGE),
    "products": (Of(lambda m, x: x * x.sigmoid() / (x.relu() + 1)), IMAGE),
    "extremes": (Of(lambda m, x: torch.maximum(x, x * 0.5) + torch.minimum(x, x * 2)), IMAGE),
    "broadcast": (Of(lambda m, x: x * x.mean((2, 3), keepdim=True) + x.mean(1, keepdim=True)), IMAGE),
    "cat": (Of(lambda m, x: torch.cat([x, x.relu(), x * 2], 1)), IMAGE),
    "cat_height": (Of(lambda m, x: torch.cat([x, x.relu()], 2)), IMAGE),
    "cat_flat": (Of(lambda m, x: torch.cat([x, x.relu()], -1)), (3, 10)),
    "flatten": (nn.Flatten(), IMAGE),
    "view": (Of(lambda m, x: x.view(2, 3, 18, 8).relu()), IMAGE),
    "view_of_a_vector": (Of(lambda m, x: x.view(3, 5, 1, 2)), (3, 10)),
    "permute": (Of(lambda m, x: x.permute(0, 3, 1, 2).relu()), IMAGE),
    "transpose": (Of(lambda m, x: x.transpose(1, 3).transpose(2, 3) + 1), IMAGE),
    "pad": (Of(lambda m, x: functional.pad(x, (1, 2, 3, 0), value=0.5)), IMAGE),
    "pad_channels": (Of(lambda m, x: functional.pad(x, (0, 0, 0, 0, 1, 2))), IMAGE),
    "zero_pad": (nn.ZeroPad2d((1, 0, 2, 1)), IMAGE),
    "reflection_pad": (nn.ReflectionPad2d((1, 3, 2, 0)), IMAGE),
    "replication_pad": (nn.ReplicationPad2d(2), IMAGE),
    "upsample_nearest": (nn.Upsample(scale_factor=2), IMAGE),
    "upsample_bilinear": (nn.Upsample(scale_factor=(2, 3), mode="bilinear"), IMAGE),
    "upsample_size": (nn.Upsample(size=(18, 24), mode="bilinear"), IMAGE),
    "upsample_any_size": (nn.Upsample(size=(5, 13), mode="bilinear"), IMAGE),
    "upsample_nearest_any_size": (nn.Upsample(size=(7, 20)), IMAGE),
    "upsample_nearest_factor": (nn.Upsample(scale_factor=(1.7, 0.6)), IMAGE),
    "upsample_nearest_exact": (nn.Upsample(size=(6, 20), mode="nearest-exact"), IMAGE),
    "upsample_corners": (nn.Upsample(size=(18, 5), mode="bilinear", align_corners=True), IMAGE),
    "upsample_bicubic": (nn.Upsample(scale_factor=1.5, mode="bicubic"), IMAGE),
    "upsample_factor": (nn.Upsample(scale_factor=(1.3, 0.7), mode="bilinear"), IMAGE),
    "pixel_shuffle": (nn.PixelShuffle(2), (2, 8, 3, 5)),
    "pixel_unshuffle": (nn.PixelUnshuffle(2), (2, 3, 4, 6)),
    "channel_shuffle": (nn.ChannelShuffle(3), IMAGE),
    "channel_shuffle_written_out": (
        Of(lambda m, x: x.view(2, 3, 2, 9, 8).transpose(1, 2).reshape(2, 6, 9, 8) + 1),
        IMAGE,
    ),
    "channel_shuffle_seen": (Of(lambda m, x: x.view(2, 3, 2, 9, 8).transpose(1, 2).relu()), IMAGE),
    "circular": (nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"), IMAGE),
    "pad_negative": (Of(lambda m, x: functional.pad(x, (-1, 2, 0, -3))), IMAGE),
    "pad_everywhere": (Of(lambda m, x: functional.pad(x, (1, 0, 0, 2, 1, 1), value=2.0)), IMAGE),
    "pad_vector": (Of(lambda m, x: functional.pad(x, (1, 2))), (2, 3, 7)),
    "slice": (Of(lambda m, x: x[:, 1:4, ::2, 3:]), IMAGE),
    "select": (Of(lambda m, x: x[:, 2] + x[:, :, 3][:, :1]), IMAGE),
    "split": (Of(lambda m, x: torch.cat(torch.split(x, 4, 1)[::-1], 1)), IMAGE),
    "split_sizes": (Of(lambda m, x: torch.split(x, [1, 2, 3], 1)[1] * 2), IMAGE),
    "chunk": (Of(lambda m, x: torch.cat([part.relu() for part in x.chunk(4, 2)], 2)), IMAGE),
    "unbind": (Of(lambda m, x: torch.stack(x.unbind(3), 1)), IMAGE),
    "flip": (Of(lambda m, x: x.flip(1, 3)), IMAGE),
    "roll": (Of(lambda m, x: x.roll((2, -1), (2, 3))), IMAGE),
    "expand": (Of(lambda m, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 5)), IMAGE),
    "squeeze": (Of(lambda m, x: x.mean((2, 3), True).squeeze(-1).squeeze(-1)), IMAGE),
    "unsqueeze": (Of(lambda m, x: x.unsqueeze(2).unsqueeze(-1)), (3, 10)),
    "five_axes": (Of(lambda m, x: x.view(2, 2, 3, 9, 8).permute(0, 3, 1, 4, 2).reshape(2, 18, 24)), IMAGE),
    "batch_moved": (Of(lambda m, x: x.permute(2, 0, 1, 3).permute(1, 2, 0, 3) * 2), IMAGE),
    "full_constant": (Of(lambda m, x: x + m.c.weight[None, :, :, 0, 0], c=nn.Conv2d(3, 7, 3)), (2, 7, 3)),
    "constants": (
        Of(lambda m, x: 2 / torch.maximum(x, torch.tensor(0.25)) - m.c.weight * x, c=nn.Conv2d(4, 2, 3)),
        (2, 4, 3, 3),
    ),
    "ranks": (
        Of(lambda m, x: x + x[:, :, 0, 0].unsqueeze(0).unsqueeze(0).transpose(1, 3).transpose(0, 2)),
        (2, 6, 9, 8),
    ),
    "cat_constant": (Of(lambda m, x: torch.cat([x, m.c.weight], 2), c=nn.Conv2d(6, 2, (3, 8))), IMAGE),
    "linear_on_rank_three": (Of(lambda m, x: m.fc(x), fc=nn.Linear(7, 4)), (2, 5, 7)),
    "conv1d": (nn.Conv1d(3, 5, 3, stride=2, padding=1), (2, 3, 11)),
    "conv1d_same": (nn.Conv1d(3, 6, 4, padding="same", groups=3), (2, 3, 11)),
    "pools_1d": (nn.Sequential(nn.MaxPool1d(3, 2, 1), nn.BatchNorm1d(3), nn.AvgPool1d(2, padding=1)), (2, 3, 11)),
    "adaptive_1d": (nn.AdaptiveAvgPool1d(4), (2, 3, 12)),
    "log_softmax": (nn.LogSoftmax(dim=1), IMAGE),
    "celu": (nn.CELU(0.7), IMAGE),
    "softsign": (nn.Softsign(), IMAGE),
    "threshold": (nn.Threshold(0.25, 0.0), IMAGE),
    "log_sigmoid": (nn.LogSigmoid(), IMAGE),
    "elementary": (
        Of(lambda m, x: (x.abs() + 1).sqrt().log() + (-x).exp() + x**2 + torch.erf(x) + x.square().add(1).rsqrt()),
        IMAGE,
    ),
    "powers": (Of(lambda m, x: x.abs() ** 1.5 + (x.abs() + 1) ** x), IMAGE),
    "rounded": (Of(lambda m, x: (3 * x).round() + x.floor() - x.ceil() + x.sign()), IMAGE),
    "sum": (Of(lambda m, x: x.sum((2, 3), keepdim=True) + x), IMAGE),
}


ROUNDED = {
    *("adaptive_avg_overlaps", "adaptive_avg_one_axis", "adaptive_avg_enlarges_unevenly", "avg_pool2d_divisor"),
    *("leaky_relu", "elu", "hardsigmoid", "celu"),
}
"""Their constants, such as a slope of 0.1, are float32 numbers in the graph."""


@pytest.mark.parametrize("name", MODULES)
def test_op(name: str) -> None:
    module, shape = MODULES[name]
    verify_reading(seeded(module), inputs(shape), rtol=2.0**-24 if name in ROUNDED else 1e-12)
