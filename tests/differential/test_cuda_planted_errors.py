"""Errors planted in a CUDA convolution, as people make them: the emulation and the reference have to see each one.

All of them are compiled in one unit: the network with error number i has a layer of its own number of channels.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnngen.backends.cuda import emit, lower_convolution
from cnngen.backends.cuda.kernels import AnyKernel
from cnngen.backends.cuda.kernels.convolution import Tile
from cnngen.errors import RunError
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D
from tests.fuzz import build_cuda
from tests.fuzz.check import Tally, check_variant, feed
from tests.graphs import SAME3, Builder

PLANTS = {
    "nothing": ("", ""),
    "no barrier": (r"__syncthreads\(\);", ";"),
    "a barrier for some threads": (r"__syncthreads\(\);", "if (warp == 0) __syncthreads();"),
    "a slice that nobody waited for": (r"copy_async_wait<STAGES - 2>", "copy_async_wait<STAGES - 1>"),
    "a slice replaced while others read it": (
        r"(__syncthreads\(\);[^\n]*)(\s*if [^\n]*\s*copy_async_commit\(\);)",
        r"\2\1",
    ),
    "another swizzle for reading": (r"(load_matrices\(a\[i\].*)step \+", r"\1(step ^ 2) +"),
    "rows and columns of the right factor confused": (r"step \+ lane / 8 % 2", "step + lane / 16"),
    "a row too many below the image": (r"unsigned\(h\) < IN_HEIGHT", "unsigned(h) <= IN_HEIGHT"),
    "a column too few": (r"unsigned\(w\) < IN_WIDTH", "unsigned(w) < IN_WIDTH - 1"),
    "pixels behind the last one": (r"pixel >= PIXELS \|\| ", ""),
    "channels behind the last one": (r" \|\| channel >= CHANNELS", ""),
    "a tap too far": (r"tap / IN_CHANNELS % KERNEL_WIDTH", "(tap / IN_CHANNELS + 1) % KERNEL_WIDTH"),
    "a stage too few": (r"slice \+ STAGES - 1 < SLICES\) copy_slice\(slice \+ STAGES - 1\)", "false) copy_slice(0)"),
    "no bias": (r" \+ bias\[channel \+ v\]", ""),
}


def convolution(number: int) -> Graph:
    """So many taps that the slices go round the ring; the tile reaches beyond its pixels and channels."""
    net = Builder((1, 11, 9, 40), name=f"planted{number}")
    net.add(Conv2D(34 + 2 * number, (3, 3), padding=SAME3, activation=Activation("relu")))
    return net.graph()


def test_every_planted_error_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render = emit.render_kernel
    changed = set()

    def planted(kernel: AnyKernel, symbol: str) -> str:
        text = render(kernel, symbol)
        for number, (name, (pattern, replacement)) in enumerate(PLANTS.items()):
            if pattern and f"_o{34 + 2 * number}_" in symbol:
                edited = re.sub(pattern, replacement, text)
                changed.update({name} if edited != text else ())
                text = edited
        return text

    monkeypatch.setattr(emit, "render_kernel", planted)
    monkeypatch.setattr(lower_convolution, "choose_tile", lambda *_: Tile(64, 64, warps=(2, 2), stages=4))
    graphs = [(number, 1, convolution(number)) for number in range(len(PLANTS))]
    variants = build_cuda.build(graphs, "cuda-emulated fp16", tmp_path, flags=("-Wno-unused",))
    assert changed == set(PLANTS) - {"nothing"}
    missed = []
    for name, one, two in zip(PLANTS, variants[::2], variants[1::2], strict=True):
        try:
            seen = bool(list(check_variant(one, two, feed(one.net.graph, 0), Tally())))
        except RunError:  # what the emulation itself finds
            seen = True
        if seen != (name != "nothing"):
            missed.append(name)
    assert not missed
