"""Calls of a network with arrays that lie on its GPU: they stay there, and so do the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnngen.backends.cuda.arrays import DeviceArray, External, check_place, read, stream_handle
from cnngen.backends.cuda.launcher import VECTOR, Launcher
from cnngen.calls import check_count, check_image, check_shape, check_whole
from cnngen.errors import RunError
from cnngen.feed import Feed, bind
from cnngen.ir import Input


def run(
    launcher: Launcher,
    inputs: Sequence[Input],
    outputs: Sequence[Input],
    xs: Sequence[Any],
    outs: Sequence[Any],
    stream: Any,
) -> None:
    """`Network.run` for arrays on the GPU. Raises `RunError` or `DeviceError` before anything is queued."""
    sources: list[External] = []
    targets: list[External] = []
    for kind, tensors, arrays, found in (("input", inputs, xs, sources), ("output", outputs, outs, targets)):
        check_count(kind, tensors, arrays)
        for tensor, array in zip(tensors, arrays, strict=True):
            what = f"{kind} {tensor.name}"
            external = read(what, array)
            check_shape(kind, tensor, external.shape)
            check_place(what, external, launcher.device)
            if external.address % VECTOR:
                raise RunError(
                    f"{what} does not begin at a multiple of {VECTOR} bytes", remedy="copy it, or use net(x)"
                )
            if kind == "output" and not external.writable:
                raise RunError(f"{what} is read-only", remedy="give a writable array")
            found.append(external)
    for number, out in enumerate(targets):
        if any(_overlap(out, other) for other in (*sources, *targets[:number])):
            raise RunError("out overlaps an input or another output", remedy="give an array of its own")
    handle = None if stream is None else stream_handle(stream)
    behind = _behind(launcher, (*sources, *targets)) if stream is None else ()
    launcher.replay([x.address for x in sources], [y.address for y in targets], handle, behind)


def call(
    launcher: Launcher, inputs: Sequence[Input], outputs: Sequence[Input], feed: Feed, *, batched: bool
) -> list[DeviceArray]:
    """`Network.__call__` for arrays on the GPU: any number of images, or exactly the compiled shapes of a network that
    is not `batched`. The results are there when it returns."""
    sources, counts, single = [], set(), False
    for tensor, array in bind(inputs, feed):
        external = read(f"input {tensor.name}", array)
        if not batched:
            check_whole(tensor, external.shape)
        elif external.shape == tensor.type.shape[1:]:
            external, single = external._replace(shape=(1, *external.shape)), True
        if batched:
            check_image(tensor, external.shape)
        check_place(f"input {tensor.name}", external, launcher.device)
        counts.add(external.shape[0] if batched else 1)
        sources.append(external)
    if len(counts) != 1:
        raise RunError(f"the inputs have different batch sizes {sorted(counts)}")
    images, batch = counts.pop(), inputs[0].type.shape[0] if batched else 1
    shapes = [(images, *tensor.type.shape[1:]) if batched else tensor.type.shape for tensor in outputs]
    results = [DeviceArray(launcher.device, shape) for shape in shapes]
    behind: Sequence[int] = _behind(launcher, sources)
    for first in range(0, images, batch):
        count = min(batch, images - first)
        taken = [(x.address, x.size // images) for x in sources]
        given = [(y.address, y.nbytes // images) for y in results]
        launcher.replay_part(
            [(address + first * size, count * size) for address, size in taken],
            [(address + first * size, count * size) for address, size in given],
            behind,
        )
        behind = ()
    return [result.image() for result in results] if single else results


def _behind(launcher: Launcher, arrays: Sequence[External]) -> tuple[int, ...]:
    """The streams that the arrays may still be worked on in."""
    if any(array.wait_for_all for array in arrays):
        # Their owner does not say in which stream they are made (PyTorch does not).
        with launcher.device.use("wait for arrays") as context:
            context.synchronize()
    return tuple({array.stream for array in arrays if array.stream is not None})


def _overlap(one: External, other: External) -> bool:
    return one.address < other.address + other.size and other.address < one.address + one.size
