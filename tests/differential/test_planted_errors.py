"""Real errors in real generated kernels: the printed C is edited as a slip in a template would leave it.

`verify` has to catch every one of them, name the layer and point at the elements. The ISA is the
emulated AVX2, so that the kernels have the same tiles on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import cnngen
from cnngen.backends.cpu import emit
from cnngen.backends.cpu.kernels import AnyKernel
from cnngen.ops import Activation, Conv2D, Dense, Flatten, Pool2D
from cnngen.report.verify_report import LayerReport, Report
from tests.graphs import SAME3, chain

Edit = tuple[str, str, str]
"""Part of the kernel's name, regular expression, replacement."""


def network() -> cnngen.Graph:
    """conv2d_0, max_pool_1, dense_3 on 10x10 images, 20 channels are two and a half vectors."""
    return chain(
        (1, 10, 10, 6),
        Conv2D(20, (3, 3), padding=SAME3, activation=Activation("relu")),
        Pool2D("max", (2, 2), (2, 2)),
        Flatten(),
        Dense(10),
        name="planted",
    )


def report_with(monkeypatch: pytest.MonkeyPatch, edit: Edit | None) -> Report:
    """The report on the network whose kernels were printed with `edit`."""
    edited: list[str] = []
    render: Callable[[AnyKernel, str], str] = emit.render_kernel

    def render_edited(kernel: AnyKernel, symbol: str) -> str:
        text = render(kernel, symbol)
        if edit is None or edit[0] not in symbol:
            return text
        changed, count = re.subn(edit[1], edit[2], text)
        edited.extend([symbol] * bool(count))
        return changed

    monkeypatch.setattr(emit, "render_kernel", render_edited)
    with cnngen.compile(network(), isa="avx2-emulated", threads=1, cache=False) as net:
        report = cnngen.verify(net)
    assert edit is None or edited, "the edit has to hit a kernel, or this test tests nothing"
    return report


def failing(report: Report) -> list[LayerReport]:
    return [layer for layer in report.layers if layer.status == "fail"]


def test_kernels_as_printed_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_with(monkeypatch, None)
    assert report.ok, report.summary()


@pytest.mark.parametrize(
    ("edit", "layer", "where"),
    [
        pytest.param(
            ("conv2d", r"x\[6\]", "x[7]"), "conv2d_0", r"w 1,6 of 10, c all", id="tap offset of the second pixel"
        ),
        pytest.param(("conv2d", r"v_load\(bias \+ 8\)", "v_zero()"), "conv2d_0", r"c 8-15 of 20", id="dropped bias"),
        pytest.param(
            ("conv2d", r"act_relu\(a0_0\)", "a0_0"), "conv2d_0", r"w 0,5 of 10, c 0-7", id="dropped activation"
        ),
        pytest.param(("max_pool", r"v_max_nan\(", "v_min("), "max_pool_1", r"c all", id="minimum for maximum"),
        pytest.param(
            ("dense", r"v_store_n\(out \+ 8, (.*), 2\)", r"v_store_n(out + 8, \1, 1)"),
            "dense_3",
            r"c 9 of 10",
            id="tail too short",
        ),
    ],
)
def test_planted_error_is_caught_and_located(
    monkeypatch: pytest.MonkeyPatch, edit: Edit, layer: str, where: str
) -> None:
    report = report_with(monkeypatch, edit)
    assert not report.ok
    assert [found.name for found in failing(report)] == [layer], report.summary()
    found = failing(report)[0].integers
    assert found.first is not None
    assert re.search(where, found.where), found.where
    assert f"FAIL {layer} on integers" in report.summary()
    assert f"first at {list(found.first.index)}: native" in report.summary()
