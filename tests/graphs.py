"""Builders of small networks for tests: graphs in Python, with shapes inferred, verified, random weights.

    graph = chain((1, 28, 28, 1), Conv2D(6, (5, 5)), Activate(Activation("relu")), GlobalPool2D("avg"))

    net = Builder((1, 8, 8, 3), weights="integers")     # a DAG: `add` returns the tensor's name
    a = net.add(Conv2D(4, (3, 3), padding=(1, 1, 1, 1)), "x")
    b = net.add(Conv2D(4, (1, 1)), "x", name="shortcut")
    graph = net.graph(net.add(Add(), a, b, name="sum"))

    x = feed(graph, "integers")                         # arrays by input name, float32
    y = cnngen.reference.reference(graph, x)

`weights` and `feed` take one of three kinds of values:

- ``random``: normal, weights at He scale, batch norms near the identity: values stay near one.
- ``integers``: small integers, so that float32 direct kernels must be exact, for networks of a few
  layers without batch norms, averages or curved activations.
- ``positive``: between 0.5 and 1.5, so that nothing cancels.

`EXAMPLES` maps names to graphs that together hold every op and the shapes of DAG that passes,
planners and emitters meet; each call builds a fresh graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from cnngen.ir import Array, Graph, Input, Node, TensorType, verify_graph
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Maximum,
    Mul,
    Op,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Resize,
    Softmax,
    SpaceToDepth,
    Sub,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.resampling import Resampling
from cnngen.passes.infer_shapes import infer_shapes

Kind = Literal["random", "integers", "positive"]
Shape = tuple[int, ...]

RELU = Activate(Activation("relu"))
SAME3 = (1, 1, 1, 1)
"""Padding of a 3x3 kernel that keeps the size."""


class Builder:
    """Adds layers one by one. The input is called `x`; with several, a mapping of names to shapes."""

    def __init__(
        self, inputs: Shape | dict[str, Shape], *, weights: Kind = "random", seed: int = 0, name: str = "net"
    ) -> None:
        shapes = inputs if isinstance(inputs, dict) else {"x": inputs}
        self.inputs = tuple(Input(name, TensorType(tuple(shape))) for name, shape in shapes.items())
        self.name, self.kind, self.rng = name, weights, np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.types = {tensor.name: tensor.type for tensor in self.inputs}

    def add(self, op: Op, *inputs: str, name: str | None = None) -> str:
        """Append `op` and return its tensor's name; without `inputs` it reads the tensor before it."""
        if not inputs and not isinstance(op, Constant):
            inputs = (self.nodes[-1].name if self.nodes else self.inputs[-1].name,)
        name = name or f"{op.kind}_{len(self.nodes)}"
        types = [self.types[tensor] for tensor in inputs]
        weights = {role: self._weight(role, shape) for role, shape in op.weight_shapes(types).items()}
        self.types[name] = op.infer(types)
        self.nodes.append(Node(name, op, inputs, weights))
        return name

    def constant(self, shape: Shape) -> str:
        """Append a constant and return its tensor's name."""
        op, name = Constant(shape), f"constant_{len(self.nodes)}"
        self.types[name] = op.infer(())
        self.nodes.append(Node(name, op, (), {"value": np.asarray(values(self.rng, shape, self.kind), np.float32)}))
        return name

    def graph(self, *outputs: str) -> Graph:
        """The network with these outputs; by default the last layer is the output."""
        names = outputs or (self.nodes[-1].name,)
        return verify_graph(infer_shapes(Graph(self.name, self.inputs, tuple(self.nodes), tuple(names))))

    def _weight(self, role: str, shape: Shape) -> Array:
        if role == "variance":
            return np.asarray(self.rng.uniform(0.5, 2, shape), np.float32)
        fan_in = math.prod(shape[:-1]) if len(shape) > 1 else 1
        array = values(self.rng, shape, self.kind)
        if self.kind == "random":
            array = array * np.float32(math.sqrt(2 / fan_in)) if role == "weight" else array * np.float32(0.2)
            if role == "gamma":
                array = array + np.float32(1)
        return array


def values(rng: np.random.Generator, shape: Shape, kind: Kind) -> Array:
    """A float32 array of this kind of values."""
    match kind:
        case "random":
            array = rng.standard_normal(shape)
        case "integers":
            array = rng.integers(-3, 4, shape)
        case "positive":
            array = rng.uniform(0.5, 1.5, shape)
    return np.asarray(array, np.float32)


def feed(graph: Graph, kind: Kind = "random", *, batch: int | None = None, seed: int = 1) -> dict[str, Array]:
    """An array for every input by name; `batch` in place of the graph's own batch size."""
    rng = np.random.default_rng(seed)
    return {
        tensor.name: values(rng, (batch, *tensor.type.shape[1:]) if batch else tensor.type.shape, kind)
        for tensor in graph.inputs
    }


def chain(shape: Shape, *ops: Op, weights: Kind = "random", seed: int = 0, name: str = "net") -> Graph:
    """A network of layers in a row behind one input `x`; layers are named by kind and position."""
    net = Builder(shape, weights=weights, seed=seed, name=name)
    for op in ops:
        net.add(op)
    return net.graph()


def lenet() -> Graph:
    """LeNet-5 with ReLU and max pooling, 28x28x1."""
    return chain(
        (1, 28, 28, 1),
        Conv2D(6, (5, 5), padding=(2, 2, 2, 2)),
        RELU,
        Pool2D("max", (2, 2), (2, 2)),
        Conv2D(16, (5, 5)),
        RELU,
        Pool2D("max", (2, 2), (2, 2)),
        Flatten(),
        Dense(120),
        RELU,
        Dense(10),
        Softmax(),
        name="lenet",
    )


def residual(batch: int = 1) -> Graph:
    """Two residual blocks with batch norms, the second strided with a projection, then a classifier."""
    net = Builder((batch, 9, 9, 8), name="residual")
    net.add(Conv2D(8, (3, 3), padding=SAME3, use_bias=False), name="a1")
    net.add(BatchNorm())
    net.add(RELU)
    net.add(Conv2D(8, (3, 3), padding=SAME3, use_bias=False))
    net.add(BatchNorm(), name="a2")
    net.add(Add(), "a2", "x")
    start = net.add(RELU, name="block1")
    net.add(Conv2D(12, (3, 3), (2, 2), SAME3), start)
    net.add(BatchNorm())
    net.add(RELU)
    net.add(Conv2D(12, (3, 3), padding=SAME3))
    net.add(BatchNorm(), name="main")
    net.add(Conv2D(12, (1, 1), (2, 2)), start)
    net.add(BatchNorm(), name="projection")
    net.add(Add(), "main", "projection")
    net.add(RELU, name="block2")
    net.add(GlobalPool2D("avg"))
    net.add(Flatten())
    net.add(Dense(5), name="logits")
    return net.graph()


def inception() -> Graph:
    """Four branches of one input, concatenated; a fire module (squeeze, two expands) behind it."""
    net = Builder((1, 7, 7, 6), name="inception")
    one = net.add(Conv2D(4, (1, 1)), "x")
    net.add(Conv2D(3, (1, 1)), "x")
    three = net.add(Conv2D(5, (3, 3), padding=SAME3))
    net.add(Pool2D("max", (3, 3), (1, 1), SAME3), "x")
    pooled = net.add(Conv2D(2, (1, 1)))
    joined = net.add(Concat(), one, three, pooled, "x", name="joined")
    squeeze = net.add(Conv2D(3, (1, 1)), joined)
    left = net.add(Conv2D(4, (1, 1)), squeeze)
    left = net.add(RELU, left)
    right = net.add(Conv2D(4, (3, 3), padding=SAME3), squeeze)
    right = net.add(RELU, right)
    net.add(Concat(), left, right, name="fire")
    net.add(GlobalPool2D("avg"))
    return net.graph()


def dense_block(layers: int = 3) -> Graph:
    """DenseNet: every layer reads batch norm, ReLU and convolution of all before; nested concats."""
    net = Builder((1, 6, 6, 4), name="dense_block")
    state = net.add(Conv2D(4, (3, 3), padding=SAME3))
    for index in range(layers):
        net.add(BatchNorm(), state)
        net.add(RELU)
        new = net.add(Conv2D(3, (3, 3), padding=SAME3, use_bias=False))
        state = net.add(Concat(), state, new, name=f"state{index}")
    net.add(BatchNorm())
    net.add(Pool2D("avg", (2, 2), (2, 2)))
    return net.graph()


def flat_dense_block(layers: int = 3) -> Graph:
    """DenseNet as frameworks export it: every concatenation names all tensors before it, none nests."""
    net = Builder((1, 6, 6, 4), name="flat_dense_block")
    features = [net.add(Conv2D(4, (3, 3), padding=SAME3), name="start")]
    for index in range(layers):
        state = net.add(Concat(), *features, name=f"state{index}") if index else features[0]
        features.append(net.add(Conv2D(3, (3, 3), padding=SAME3), state, name=f"new{index}"))
    net.add(Concat(), *features, name=f"state{layers}")
    net.add(Conv2D(5, (1, 1)))
    return net.graph()


def separable() -> Graph:
    """Depthwise and grouped convolutions, an inverted residual with relu6, asymmetric padding."""
    relu6 = Activate(Activation("relu6"))
    net = Builder((1, 11, 10, 4), name="separable")
    start = net.add(Conv2D(8, (3, 3), (2, 2), (0, 1, 0, 1)), name="stem")
    net.add(Conv2D(16, (1, 1), use_bias=False))
    net.add(BatchNorm())
    net.add(relu6)
    net.add(Conv2D(16, (3, 3), padding=SAME3, groups=16, use_bias=False))
    net.add(BatchNorm())
    net.add(relu6)
    net.add(Conv2D(8, (1, 1), use_bias=False))
    net.add(BatchNorm(), name="linear")
    net.add(Add(), start, "linear")
    net.add(Conv2D(12, (3, 3), dilation=(2, 1), padding=(2, 2, 0, 0), groups=4))
    net.add(Pool2D("avg", (3, 3), (2, 2), SAME3, count_include_pad=True))
    return net.graph()


def alexnet_head() -> Graph:
    """Large first kernel with stride, LRN, overlapping pooling, grouped convolution, dropout."""
    return chain(
        (1, 35, 35, 3),
        Conv2D(8, (11, 11), (4, 4)),
        RELU,
        LRN(),
        Pool2D("max", (3, 3), (2, 2)),
        Conv2D(10, (5, 5), padding=(2, 2, 2, 2), groups=2),
        RELU,
        Flatten(),
        Dense(16),
        Identity(),
        Activate(Activation("tanh")),
        Dense(4),
        Softmax(),
        name="alexnet_head",
    )


def channels_first(batch: int = 1) -> Graph:
    """A network with channels-first input and output: transposes at both ends, flatten in CHW order."""
    net = Builder((batch, 3, 8, 6), name="channels_first")
    net.add(Transpose((0, 2, 3, 1)))
    net.add(Conv2D(5, (3, 3), padding=SAME3))
    body = net.add(Activate(Activation("leaky_relu", 0.1)))
    net.add(Pool2D("max", (2, 2), (2, 2)))
    net.add(Flatten("chw"))
    scores = net.add(Dense(7), name="scores")
    maps = net.add(Transpose((0, 3, 1, 2)), body, name="maps")
    return net.graph(scores, maps)


def two_inputs() -> Graph:
    """Two inputs of different size that meet, two outputs, one of them read further on."""
    net = Builder({"image": (1, 8, 8, 3), "depth": (1, 4, 4, 2)}, name="two_inputs")
    image = net.add(Conv2D(6, (2, 2), (2, 2)), "image")
    depth = net.add(Conv2D(6, (3, 3), padding=SAME3), "depth")
    both = net.add(Add(), image, depth, name="both")
    net.add(Activate(Activation("sigmoid")), both)
    net.add(GlobalPool2D("max"))
    net.add(Flatten())
    return net.graph(both, net.add(Dense(3), name="scores"))


def encoder_decoder() -> Graph:
    """A small U-Net: pooled twice, upsampled twice, joined with what was there before each pooling."""
    net = Builder((1, 8, 12, 3), name="encoder_decoder")
    fine = net.add(Conv2D(6, (3, 3), padding=SAME3, activation=RELU.activation), "x", name="fine")
    net.add(Pool2D("max", (2, 2), (2, 2)))
    middle = net.add(Conv2D(10, (3, 3), padding=SAME3, activation=RELU.activation), name="middle")
    net.add(Pool2D("max", (2, 3), (2, 3)))
    net.add(Conv2D(12, (3, 3), padding=SAME3), name="coarse")
    up = net.add(Upsample((2, 3)))
    net.add(Concat(), middle, up)
    net.add(Conv2D(9, (3, 3), padding=SAME3))
    up = net.add(Upsample((2, 2)))
    net.add(Conv2D(6, (2, 2), padding=(1, 0, 0, 1)), up, name="smoothed")
    net.add(Add(), "smoothed", fine)
    net.add(Conv2D(2, (1, 1)), name="map")
    return net.graph("map", net.add(Upsample((3, 2)), "map", name="enlarged"))


def squeeze_excitation() -> Graph:
    """A block with squeeze and excitation (Hu et al., 2018) and a shortcut, PReLU, then an image without its mean."""
    net = Builder((1, 7, 6, 5), name="squeeze_excitation")
    net.add(Conv2D(12, (3, 3), padding=SAME3))
    body = net.add(PRelu(), name="body")
    net.add(GlobalPool2D("avg"))
    net.add(Conv2D(3, (1, 1)))
    net.add(Activate(Activation("silu")))
    net.add(Conv2D(12, (1, 1)))
    gate = net.add(Activate(Activation("sigmoid")), name="gate")
    net.add(Mul(), body, gate, name="scaled")
    net.add(Conv2D(12, (1, 1)), "x", name="shortcut")
    net.add(Add(), "scaled", "shortcut", name="sum")
    block = net.add(RELU, name="block")
    mean = net.add(GlobalPool2D("avg"), block, name="mean")
    centred = net.add(Sub(), block, mean, name="centred")
    largest = net.add(GlobalPool2D("max"), block, name="largest")
    net.add(Maximum(), largest, mean, name="scale")
    net.add(Div(Activation("tanh")), centred, net.add(Activate(Activation("softplus")), "scale"), name="normalised")
    return net.graph("normalised", net.add(Flatten(), mean, name="features"))


def transposed_decoder() -> Graph:
    """The way up of a U-Net by transposed convolutions: batch norm, activation, concat, a residual sum."""
    net = Builder((1, 6, 8, 3), name="transposed_decoder")
    fine = net.add(Conv2D(5, (3, 3), padding=SAME3, activation=RELU.activation), "x", name="fine")
    net.add(Pool2D("max", (2, 2), (2, 2)))
    net.add(Conv2D(8, (3, 3), padding=SAME3), name="coarse")
    net.add(Conv2DTranspose(6, (2, 2), (2, 2), use_bias=False))
    net.add(BatchNorm())
    up = net.add(RELU, name="up")
    net.add(Concat(), fine, up)
    net.add(Conv2D(5, (3, 3), padding=SAME3))
    joined = net.add(RELU, name="joined")
    smooth = net.add(Conv2DTranspose(5, (3, 3), padding=SAME3), name="smooth")
    net.add(Add(), smooth, joined)
    net.add(RELU)
    net.add(Conv2DTranspose(2, (4, 3), (2, 3), (1, 1, 0, 1), output_padding=(0, 1)), name="map")
    return net.graph()


def style_transfer() -> Graph:
    """Reflect padding in front of convolutions, bilinear upsampling behind, edges and a frame of a constant."""
    net = Builder((1, 7, 9, 3), name="style_transfer")
    net.add(Pad((1, 1, 2, 2), "reflect"))
    net.add(Conv2D(6, (3, 5), (2, 2)), name="down")
    net.add(RELU)
    net.add(UpsampleBilinear((2, 2)))
    net.add(Pad((1, 1, 1, 1), "edge"))
    net.add(Conv2D(3, (3, 3)), name="smooth")
    net.add(Pad((2, 0, 1, 3), value=-0.5))
    net.add(Conv2D(2, (3, 3), padding=SAME3))
    return net.graph(net.add(UpsampleBilinear((3, 1)), name="stretched"), "smooth")


def super_resolution() -> Graph:
    """Blocks of pixels as channels and back, shuffled groups, and the picture itself, resized, added to the result."""
    net = Builder((1, 8, 6, 3), name="super_resolution")
    net.add(SpaceToDepth(2))
    net.add(Conv2D(12, (1, 1), groups=3))
    net.add(ChannelShuffle(3))
    net.add(Conv2D(12, (3, 3), padding=SAME3, groups=3, activation=RELU.activation))
    net.add(Pad((0, 0, 0, 0), channels=(0, 15)), name="more")
    detail = net.add(DepthToSpace(3, "CRD"), name="detail")
    smooth = net.add(Resize((12, 9), Resampling("cubic")), "x", name="smooth")
    picture = net.add(Add(), detail, smooth, name="picture")
    net.add(Resize((7, 5), Resampling("linear", antialias=True)), picture, name="preview")
    net.add(Pad((-1, 0, 0, -1)), picture, name="cropped")
    around = net.add(Pad((1, 1, 1, 1), "wrap"), "cropped", name="around")
    return net.graph(net.add(Conv2D(2, (3, 3)), around), "preview", net.add(Resize((5, 20)), around, name="nearest"))


def ceil_pools() -> Graph:
    """Pooling with ceil_mode, dilation and padding, with and without the padding in the average."""
    net = Builder((2, 10, 9, 3), name="ceil_pools")
    net.add(Pool2D("max", (3, 3), (2, 2), ceil_mode=True))
    net.add(Pool2D("avg", (2, 3), (1, 2), (1, 0, 1, 1), ceil_mode=True))
    net.add(Pool2D("max", (2, 2), (1, 1), dilation=(2, 1)))
    net.add(Pool2D("avg", (2, 2), (2, 2), (1, 1, 1, 1), count_include_pad=True, ceil_mode=True))
    return net.graph()


def every_activation() -> Graph:
    """All activation functions in a row, each behind a 1x1 convolution."""
    net = Builder((1, 3, 3, 4), name="every_activation")
    for activation in (
        Activation("relu"),
        Activation("relu6"),
        Activation("clip", -0.5, 0.75),
        Activation("leaky_relu", 0.2),
        Activation("sigmoid"),
        Activation("tanh"),
        Activation("hard_sigmoid", 0.2, 0.5),
        Activation("hard_swish"),
        Activation("silu"),
        Activation("elu", 1.5),
        Activation("selu"),
        Activation("gelu"),
        Activation("gelu_tanh"),
        Activation("mish"),
        Activation("softplus"),
        Activation("celu", 0.5),
        Activation("softsign"),
        Activation("thresholded_relu", 0.1),
        Activation("swish", 1.5),
    ):
        net.add(Conv2D(4, (1, 1)))
        net.add(Activate(activation))
    return net.graph()


def normalised() -> Graph:
    """A ConvNeXt block (Liu et al., 2022), then instance and group normalisation as in networks that paint."""
    net = Builder((2, 6, 7, 3), name="normalised")
    stem = net.add(Conv2D(12, (2, 2), (2, 2)), "x", name="stem")
    net.add(Conv2D(12, (3, 3), padding=SAME3, groups=12))
    net.add(LayerNorm(1e-6))
    net.add(Conv2D(20, (1, 1)))
    net.add(Activate(Activation("gelu")))
    net.add(Conv2D(12, (1, 1)), name="narrow")
    body = net.add(Add(), "narrow", stem, name="body")
    net.add(InstanceNorm(), body)
    net.add(RELU)
    net.add(Conv2D(9, (3, 3), padding=SAME3, use_bias=False))
    net.add(GroupNorm(groups=3))
    net.add(Activate(Activation("silu")), name="painted")
    net.add(LayerNorm(axes="image"))
    net.add(Flatten())
    net.add(LayerNorm(scale=False))
    return net.graph(net.add(Dense(4), name="scores"), "painted")


def elementary() -> Graph:
    """A mixture's likelihood by hand: elementary functions fused behind what they follow, and on their own."""
    net = Builder((1, 4, 5, 6), name="elementary")
    net.add(Conv2D(7, (1, 1)))
    distance = net.add(Activate(Activation("square")), name="distance")
    net.add(Activate(Activation("neg")), distance)
    net.add(Activate(Activation("exp")), name="density")
    net.add(GlobalPool2D("avg"), distance)
    net.add(Activate(Activation("pow", 0.75)), name="exponent")
    net.add(Power(), "density", "exponent", name="tempered")
    net.add(Conv2D(5, (1, 1)))
    net.add(Activate(Activation("erf")))
    return net.graph(net.add(LogSoftmax(), name="scores"), "tempered")


EXAMPLES: dict[str, Callable[[], Graph]] = {
    build.__name__: build
    for build in (
        lenet,
        residual,
        inception,
        dense_block,
        flat_dense_block,
        separable,
        alexnet_head,
        channels_first,
        two_inputs,
        encoder_decoder,
        squeeze_excitation,
        transposed_decoder,
        style_transfer,
        super_resolution,
        ceil_pools,
        every_activation,
        elementary,
        normalised,
    )
}
"""Small networks by name, for tests over all of them."""
