"""The shipped specs against published counts.

Parameters are counted as PyTorch does: gamma and beta of batch normalisation, but not its running
mean and variance, which are statistics (`Op.cost` counts all four arrays). MACs are those of
convolutions and dense layers. Where torchvision is named, or efficientnet-lite-pytorch, the figures are
those of its model: parameters summed, MACs counted by hooks on its convolutions and linear layers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cnngen.errors import WeightsError, WeightsWarning
from cnngen.frontends import load
from cnngen.ir import Graph, Input, TensorType
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.reference import reference
from cnngen.resources import specs_folder

PUBLISHED = {
    # Parameters exactly; MACs exactly, and in billions as published.
    # LeCun et al. 1998 with full connections in C3 and dense C5: 61,706 parameters.
    "lenet": (61_706, 416_520, 0.00042),
    # Krizhevsky et al. 2012: "60 million parameters"; Sze et al., Efficient Processing of Deep Neural
    # Networks, 2017, table II: 61M weights, 724M MACs.
    "alexnet": (60_965_224, 724_406_816, 0.724),
    # Simonyan and Zisserman 2015, table 2: 138M; torchvision: 138,357,544 and 15.47 G.
    "vgg16": (138_357_544, 15_470_264_320, 15.47),
    # torchvision: 11,689,512 and 1.814 G; He et al. 2016, table 1: 1.8e9.
    "resnet18": (11_689_512, 1_814_073_344, 1.814),
    # torchvision: 21,797,672 and 3.664 G; He et al. 2016, table 1: 3.6e9.
    "resnet34": (21_797_672, 3_663_761_408, 3.664),
    # torchvision: 25,557,032 and 4.089 G.
    "resnet50": (25_557_032, 4_089_184_256, 4.089),
    # Howard et al. 2017, table 8: 4.2M and 569M; Keras' MobileNet: 4,231,976 trainable parameters.
    "mobilenet_v1": (4_231_976, 568_740_352, 0.569),
    # torchvision: 3,504,872 and 0.301 G; Sandler et al. 2018, table 4: 3.4M and 300M.
    "mobilenet_v2": (3_504_872, 300_774_272, 0.301),
    # torchvision, version 1.1: 1,235,496 and 0.349 G.
    "squeezenet": (1_235_496, 349_151_936, 0.349),
    # torchvision: 7,978,856 and 2.834 G.
    "densenet121": (7_978_856, 2_834_161_664, 2.834),
    # efficientnet-lite-pytorch 0.1.0: 4,652,008 and 0.385 G. The table in the authors' repository has 4.7M
    # parameters and 407M "MAdds": more than those of the convolutions and the dense layer.
    "efficientnet_lite0": (4_652_008, 385_187_552, 0.385),
    # Its layers in PyTorch (padded, no batch normalisation, one channel in, two classes): 31,030,658 parameters, the
    # paper's own too, as padding adds none; 48.1 G. The paper gives no counts but "23 convolutional layers".
    "unet": (31_030_658, 48_096_083_968, 48.1),
}
STAGES = {
    "lenet": {"c1": (28, 28, 6), "max_pool_1": (14, 14, 6), "c3": (10, 10, 16), "max_pool_2": (5, 5, 16)},
    "alexnet": {"conv1": (55, 55, 96), "pool1": (27, 27, 96), "conv2": (27, 27, 256), "pool2": (13, 13, 256),
                "conv3": (13, 13, 384), "conv5": (13, 13, 256), "pool5": (6, 6, 256)},
    "vgg16": {"conv1_2": (224, 224, 64), "conv2_2": (112, 112, 128), "conv3_3": (56, 56, 256),
              "conv4_3": (28, 28, 512), "conv5_3": (14, 14, 512), "max_pool_5": (7, 7, 512)},
    "resnet18": {"conv1/batch_norm_1": (112, 112, 64), "conv2/building_block_2/add_1": (56, 56, 64),
                 "conv3/building_block_2/add_1": (28, 28, 128), "conv4/building_block_2/add_1": (14, 14, 256),
                 "conv5/building_block_2/add_1": (7, 7, 512)},
    "resnet34": {"conv1/batch_norm_1": (112, 112, 64), "conv2/building_block_3/add_1": (56, 56, 64),
                 "conv3/building_block_4/add_1": (28, 28, 128), "conv4/building_block_6/add_1": (14, 14, 256),
                 "conv5/building_block_3/add_1": (7, 7, 512)},
    "resnet50": {"conv1/batch_norm_1": (112, 112, 64), "conv2/bottleneck_3/add_1": (56, 56, 256),
                 "conv3/bottleneck_4/add_1": (28, 28, 512), "conv4/bottleneck_6/add_1": (14, 14, 1024),
                 "conv5/bottleneck_3/add_1": (7, 7, 2048)},
    "mobilenet_v1": {"conv1": (112, 112, 32), "separable_1/conv2d_1": (112, 112, 64),
                     "separable_3/conv2d_1": (56, 56, 128),
                     "separable_5/conv2d_1": (28, 28, 256), "separable_11/conv2d_1": (14, 14, 512),
                     "separable_13/conv2d_1": (7, 7, 1024)},
    "mobilenet_v2": {"conv1/relu6_1": (112, 112, 32), "stage_1/bottleneck_1/linear": (112, 112, 16),
                     "stage_2/bottleneck_2/add_1": (56, 56, 24), "stage_3/bottleneck_3/add_1": (28, 28, 32),
                     "stage_4/bottleneck_4/add_1": (14, 14, 64), "stage_5/bottleneck_3/add_1": (14, 14, 96),
                     "stage_6/bottleneck_3/add_1": (7, 7, 160), "stage_7/bottleneck_1/linear": (7, 7, 320),
                     "conv2/relu6_1": (7, 7, 1280)},
    "squeezenet": {"conv1": (111, 111, 64), "max_pool_1": (55, 55, 64), "fire3/concat_1": (55, 55, 128),
                   "fire5/concat_1": (27, 27, 256), "fire9/concat_1": (13, 13, 512), "conv10": (13, 13, 1000)},
    "densenet121": {"conv1": (112, 112, 64), "max_pool_1": (56, 56, 64), "block1_6/concat_1": (56, 56, 256),
                    "transition_1/avg_pool_1": (28, 28, 128), "block2_12/concat_1": (28, 28, 512),
                    "transition_2/avg_pool_1": (14, 14, 256), "block3_24/concat_1": (14, 14, 1024),
                    "transition_3/avg_pool_1": (7, 7, 512), "block4_16/concat_1": (7, 7, 1024)},
    "efficientnet_lite0": {"stem": (112, 112, 32), "stage_1/mbconv_1/projected": (112, 112, 16),
                           "stage_2/mbconv_2/add_1": (56, 56, 24), "stage_3/mbconv_2/add_1": (28, 28, 40),
                           "stage_4/mbconv_3/add_1": (14, 14, 80), "stage_5/mbconv_3/add_1": (14, 14, 112),
                           "stage_6/mbconv_4/add_1": (7, 7, 192), "stage_7/mbconv_1/projected": (7, 7, 320),
                           "head": (7, 7, 1280)},
    "unet": {"down1/conv_2": (256, 256, 64), "down2/conv_2": (128, 128, 128), "down3/conv_2": (64, 64, 256),
             "down4/conv_2": (32, 32, 512), "bottom/conv_2": (16, 16, 1024), "concat_1": (32, 32, 1024),
             "up4/conv_2": (32, 32, 512), "concat_4": (256, 256, 128), "up1/conv_2": (256, 256, 64),
             "map": (256, 256, 2)},
}  # fmt: skip


@cache
def network(name: str) -> Graph:
    return load(specs_folder() / f"{name}.yaml")


def test_every_shipped_spec_is_checked() -> None:
    assert {path.stem for path in specs_folder().glob("*.yaml")} == set(PUBLISHED) == set(STAGES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters_and_macs(name: str) -> None:
    graph = network(name)
    parameters, macs, billions = PUBLISHED[name]
    statistics = ("mean", "variance")
    learned = sum(a.size for node in graph.nodes for role, a in node.weights.items() if role not in statistics)
    costs = [node.op.cost(graph.input_types(node), graph.types[node.name]) for node in graph.nodes]
    assert learned == parameters
    assert sum(cost.macs for cost in costs) == macs
    assert abs(macs / 1e9 / billions - 1) < 0.01


@pytest.mark.parametrize("name", STAGES)
def test_sizes_of_the_stages(name: str) -> None:
    graph = network(name)
    assert graph.name == name
    assert {stage: graph.types[stage].shape[1:] for stage in STAGES[name]} == STAGES[name]
    classes = {"lenet": (10,), "unet": (256, 256, 2)}
    assert graph.types[graph.outputs[0]].shape == (1, *classes.get(name, (1000,)))


CONVOLUTIONAL = sorted(PUBLISHED.keys() - {"lenet", "alexnet", "vgg16"})


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_random_weights_give_moderate_logits(name: str) -> None:
    """On few pixels: the convolutional networks take any size, and the reference is no racer."""
    graph = network(name)
    pixels = 16 if name == "unet" else 64  # it keeps its pixels
    image = Input(graph.inputs[0].name, TensorType((1, pixels, pixels, graph.inputs[0].type.shape[-1])))
    small = infer_shapes(replace(graph, inputs=(image,)))
    tensors = reference(small, np.random.default_rng(0).standard_normal(image.type.shape), keep=True)
    assert isinstance(tensors, dict)
    logits = tensors[graph.nodes[-1].inputs[0]]
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10
    np.testing.assert_allclose(tensors[graph.outputs[0]].sum(axis=-1), 1, rtol=1e-12)


def test_residual_blocks_of_resnet50() -> None:
    """Four projections, one a stage; the other twelve shortcuts are the input itself."""
    graph = network("resnet50")
    additions = [node for node in graph.nodes if node.op.kind == "add"]
    projected = [node.name for node in additions if "/shortcut/" in node.inputs[1]]
    assert len(additions) == 16
    assert projected == [f"conv{stage}/bottleneck_1/add_1" for stage in (2, 3, 4, 5)]


def test_the_convolutions_of_the_unet() -> None:
    """Section 2: "In total the network has 23 convolutional layers", four of them up-convolutions."""
    graph = network("unet")
    kinds = [node.op.kind for node in graph.nodes]
    assert sum("conv2d" in kind for kind in kinds) == 23
    assert [graph.node(f"concat_{n}").inputs for n in range(1, 5)] == [
        (f"down{level}/conv_2", f"larger{level}") for level in (4, 3, 2, 1)
    ]


def test_the_first_strides_of_mobilenet_v2() -> None:
    graph = network("mobilenet_v2")
    strided = [node.name for node in graph.nodes if getattr(node.op, "stride", (1, 1)) == (2, 2)]
    assert strided == ["conv1/conv2d_1", *(f"stage_{n}/bottleneck_1/depthwise" for n in (2, 3, 4, 6))]
    assert sum(node.op.kind == "add" for node in graph.nodes) == 10


def test_a_copied_spec_finds_the_shipped_weights(tmp_path: Path) -> None:
    copy = tmp_path / "lenet.yaml"
    copy.write_text((specs_folder() / "lenet.yaml").read_text())
    with pytest.warns(WeightsWarning, match=r"lenet.yaml:\d+: there is no weights/lenet.safetensors beside the spec"):
        copied = load(copy)
    shipped = load(specs_folder() / "lenet.yaml")
    for mine, theirs in zip(copied.nodes, shipped.nodes, strict=True):
        assert all(np.array_equal(mine.weights[role], theirs.weights[role]) for role in theirs.weights)


def test_weights_beside_the_spec_come_before_the_shipped_ones(tmp_path: Path) -> None:
    copy = tmp_path / "lenet.yaml"
    copy.write_text((specs_folder() / "lenet.yaml").read_text())
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lenet.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError):
        load(copy)
