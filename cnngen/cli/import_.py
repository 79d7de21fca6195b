"""`cnngen import`: an ONNX model as a spec to read and change, with its weights in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnngen.cli.common import BatchOption, DebugOption, ShapesOption, console, input_shapes


def import_(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX model (.onnx).")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="SPEC", help="The spec; by default MODEL with .yaml."),
    ] = None,
    input_shape: ShapesOption = None,
    batch: BatchOption = 1,
    _debug: DebugOption = False,
) -> None:
    """Write an ONNX model as a spec and a safetensors file; compiling either gives the same bits.

    Examples:

      cnngen import model.onnx -o spec.yaml

      cnngen import model.onnx --input-shape x=1,3,224,224
    """
    from cnngen import pipeline
    from cnngen.errors import ModelError
    from cnngen.frontends import ONNX_SUFFIXES, YAML_SUFFIXES
    from cnngen.frontends.spec_writer import write_spec

    if model.suffix.lower() not in ONNX_SUFFIXES:
        raise ModelError(f"{model}: is no ONNX model", remedy="give the path of an .onnx file")
    path = output or model.with_suffix(".yaml")
    if path.suffix.lower() not in YAML_SUFFIXES:
        raise typer.BadParameter(f"{path}: a spec ends in .yaml")
    graph = pipeline.load_graph(model, input_shapes=input_shapes(input_shape), batch=batch)
    comment = f"Imported from {model.name}. Behind each layer: the shape of its output, without the batch."
    spec, weights = write_spec(graph, path, comment=comment)
    size = weights.stat().st_size
    console().print(f"{spec}: {len(graph.nodes)} layers; {weights}: {size:,} bytes", markup=False, soft_wrap=True)
