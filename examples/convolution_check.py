"""One convolution by cnngen, by its formula, and by Keras: ``python examples/convolution_check.py``.

256 images of 28x28 pixels and one channel (NHWC), 5x5 kernels to 3 channels, no padding. The formula is

    H[i, j, o] = u[o] + sum over a, b, c of K[a, b, c, o] X[i + a, j + b, c]

Prints the mean absolute difference between each pair; the exit code is 1 if cnngen's exceeds 1e-7. Keras (3, on
PyTorch) takes part where it is installed: ``pip install keras torch``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import cnngen
from cnngen.resources import specs_folder

LIMIT = 1e-7

SPEC = """
cnngen: 1
name: check
input: {shape: [28, 28, 1], layout: hwc}
weights: {file: weights.npz, format: keras}
layers:
  - conv2d: {name: conv, filters: 3, kernel: 5}
"""


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images X (256, 28, 28, 1) of digits from 0 to 1, kernels K (5, 5, 1, 3) and biases u (3,), all float32.

    There are 200 digits; the first 56 come twice. K is uniform in the range with which Keras starts a training.
    """
    digits = np.load(specs_folder() / "data" / "digits.npz")["images"]
    rng = np.random.default_rng(0)
    limit = np.sqrt(6 / (5 * 5 * 1 + 5 * 5 * 3))  # Glorot and Bengio, 2010
    kernels = rng.uniform(-limit, limit, (5, 5, 1, 3))
    images = np.resize(digits, (256, 28, 28, 1)) / np.float32(255)
    return images, kernels.astype(np.float32), rng.uniform(-0.1, 0.1, 3).astype(np.float32)


def by_formula(images: np.ndarray, kernels: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """The naive loop, in float64, for all images at once; shape (n, height, width, filters)."""
    x, k = images.astype(np.float64), kernels.astype(np.float64)
    rows, columns, _, filters = k.shape
    result = np.empty((len(x), x.shape[1] - rows + 1, x.shape[2] - columns + 1, filters))
    for i in range(result.shape[1]):
        for j in range(result.shape[2]):
            for o in range(filters):
                window = x[:, i : i + rows, j : j + columns, :]
                result[:, i, j, o] = biases[o] + (k[:, :, :, o] * window).sum(axis=(1, 2, 3))
    return result


def by_cnngen(images: np.ndarray, kernels: np.ndarray, biases: np.ndarray, isa: str = "native") -> np.ndarray:
    """The same by a network of this one layer, compiled for `isa`."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "check.yaml"
        spec.write_text(SPEC, encoding="utf-8")
        np.savez(Path(folder) / "weights.npz", **{"conv.weight": kernels, "conv.bias": biases})
        with cnngen.compile(spec, isa=isa) as net:
            return net(images)


def by_keras(images: np.ndarray, kernels: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """The same by ``keras.layers.Conv2D``, with PyTorch underneath."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    layer = keras.layers.Conv2D(3, 5, padding="valid", data_format="channels_last")
    layer.build(images.shape)
    layer.set_weights([kernels, biases])
    return keras.ops.convert_to_numpy(layer(images))


def main() -> int:
    """Print the differences; 1 if one of cnngen's is too large, else 0."""
    arguments = data()
    results = {"formula": by_formula(*arguments), "cnngen": by_cnngen(*arguments)}
    if importlib.util.find_spec("keras") and importlib.util.find_spec("torch"):
        results["Keras"] = by_keras(*arguments)
    else:
        print("Keras or PyTorch is not installed: compared with the formula only")
    names = list(results)
    differences = {
        (a, b): float(np.abs(results[a] - results[b]).mean()) for n, a in enumerate(names) for b in names[n + 1 :]
    }
    for (a, b), difference in differences.items():
        print(f"{a:8} {b:8} mean absolute difference {difference:.2e}")
    return int(any(difference > LIMIT for pair, difference in differences.items() if "cnngen" in pair))


if __name__ == "__main__":
    sys.exit(main())
