"""A Keras 3 model, exported to ONNX by Keras itself, compiles and agrees.

Run in an environment with PyTorch, on which Keras runs here: ``make test-torch``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import cnngen

REASON = "is not installed; make test-torch installs it"
pytest.importorskip("torch", reason=f"PyTorch {REASON}")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason=f"Keras {REASON}")
pytest.importorskip("onnxscript", reason=f"onnxscript {REASON}")

pytestmark = pytest.mark.torch


def test_an_exported_model_agrees(tmp_path: Path) -> None:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((20, 18, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = shortcut = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Add()([x, shortcut])
    x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="swish")(x))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Dropout(0.5)(x)))
    generator = np.random.default_rng(0)
    statistics = model.layers[2]
    statistics.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in statistics.get_weights()])

    file = tmp_path / "keras.onnx"
    images = generator.standard_normal((2, 20, 18, 3), np.float32)
    wanted = model.predict(images, verbose=0)  # Keras exports only what has run
    model.export(file, format="onnx", verbose=False)
    with cnngen.compile(file) as net:
        assert net.input_shapes[0][1:] == (20, 18, 3)
        actual = net(images)
        assert cnngen.verify(net).ok
    assert np.linalg.norm(actual - wanted) < 1e-5 * np.linalg.norm(wanted)
