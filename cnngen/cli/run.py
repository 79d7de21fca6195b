"""`cnngen run`: a network on an array or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnngen.cli.common import (
    ArchitecturesOption,
    DebugOption,
    IsaOption,
    PrecisionOption,
    ShapesOption,
    SpecArgument,
    StrictOption,
    TargetOption,
    ThreadsOption,
    WeightsOption,
    WeightStorageOption,
    console,
    find_spec,
    input_shapes,
    working,
)

if TYPE_CHECKING:
    from cnngen.ir import Array
    from cnngen.network import Network

TOP = 5


def run(
    spec: SpecArgument,
    file: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Input: .npy, .npz (one array an input), or a picture.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the outputs: .npy, or .npz by name.")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="Class names, one a line.")] = None,
    mean: Annotated[str, typer.Option("--mean", help="Pictures: subtracted, one number or one per channel.")] = "0",
    std: Annotated[str, typer.Option("--std", help="Pictures: divided by, one number or one per channel.")] = "1",
    invert: Annotated[bool, typer.Option("--invert", help="Pictures: dark on light becomes light on dark.")] = False,
    weights: WeightsOption = None,
    input_shape: ShapesOption = None,
    strict: StrictOption = False,
    target: TargetOption = "cpu",
    precision: PrecisionOption = "fp32",
    architectures: ArchitecturesOption = "native",
    isa: IsaOption = "native",
    threads: ThreadsOption = None,
    weight_storage: WeightStorageOption = "fp32",
    _debug: DebugOption = False,
) -> None:
    """Run the network on an array or a picture.

    Arrays are taken as they are: float32, in the layout of the spec, with or without a batch axis. A
    picture is resized to the network's input, made grey where that has one channel, divided by 255,
    then normalised by --mean and --std.

    Examples:

      cnngen run lenet digits.npy -o scores.npy

      cnngen run lenet digit.png --invert

      cnngen run lenet digits.npy --target cuda --precision fp16

      cnngen run resnet50 cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --labels imagenet.txt
    """
    import cnngen
    from cnngen.arrays import load_arrays, save_arrays
    from cnngen.errors import RunError
    from cnngen.pictures import SUFFIXES

    names = None if labels is None else labels.read_text(encoding="utf-8").splitlines()
    if output is not None and output.suffix not in (".npy", ".npz"):
        raise RunError(f"{output}: outputs are written as .npy or .npz", remedy="change the name's ending")
    path = find_spec(spec)
    with (
        working(f"Compiling {path.name}"),
        cnngen.compile(
            path,
            weights=weights,
            input_shapes=input_shapes(input_shape),
            strict=strict,
            target=target,
            precision=precision,
            architectures=architectures,
            isa=isa,
            threads=threads,
            weight_storage=weight_storage,
        ) as net,
    ):
        if file.suffix.lower() in SUFFIXES:
            feed = {net.input_names[0]: _picture(net, file, mean, std, invert)}
        else:
            feed = load_arrays(file, net.input_names)
        result = net(*feed.values())
    results = list(result) if isinstance(result, list | tuple) else [result]
    outputs = dict(zip(net.output_names, results, strict=True))
    if output is not None:
        save_arrays(output, outputs)
    if net.isa.startswith("cuda"):
        console().print(f"{net.name}: {net.isa}", markup=False)
    for name, array in outputs.items():
        _show(name, array, names)
    if output is not None:
        console().print(f"written: {output}", markup=False)


def _picture(net: Network, file: Path, mean: str, std: str, invert: bool) -> Array:
    from cnngen.errors import RunError
    from cnngen.pictures import load_picture

    if len(net.input_names) != 1 or len(net.input_shapes[0]) != 4:
        raise RunError(f"{file}: a picture fits a network with one image input only", remedy="give a .npz file")
    shape = net.input_shapes[0][1:]
    height, width, channels = (*shape[1:], shape[0]) if net.channels_first else shape
    pixels = load_picture(file, height, width, channels, mean=_numbers(mean), std=_numbers(std), invert=invert)
    return pixels.transpose(2, 0, 1)[None].copy() if net.channels_first else pixels[None]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as 0.485,0.456,0.406") from None


def _show(name: str, array: Array, labels: list[str] | None) -> None:
    """The best classes of each image, or, where the output is no vector of classes, its shape and range."""
    from rich.table import Table

    screen = console()
    classes = array.shape[-1] if array.ndim == 2 else 0
    if classes < 2:
        screen.print(f"{name}: shape {array.shape}, from {array.min():.6g} to {array.max():.6g}", markup=False)
        return
    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    table.add_column("image", justify="right")
    for place in range(min(TOP, classes)):
        table.add_column(f"top {place + 1}")
    for image, scores in enumerate(array):
        best = scores.argsort(kind="stable")[::-1][:TOP]
        table.add_row(str(image), *(f"{_label(int(k), labels)} {scores[k]:.4g}" for k in best))
    screen.print(table)


def _label(index: int, labels: list[str] | None) -> str:
    return labels[index] if labels is not None and index < len(labels) else str(index)
