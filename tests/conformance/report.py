"""`docs/onnx_support.md`, from the outcomes of the suite."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from tests.conformance.check import Outcome, counts

PAGE = Path(__file__).parents[2] / "docs" / "onnx_support.md"

OPS = frozenset(
    """
    Conv ConvTranspose MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization
    InstanceNormalization GroupNormalization LayerNormalization LRN Gemm MatMul Add Sub Mul Div Max Min Pow Sqrt
    Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Swish Mish Gelu Tanh Softplus Softsign
    ThresholdedRelu Clip Softmax LogSoftmax Concat Split Slice Pad Flatten Reshape Transpose Squeeze Unsqueeze
    Resize Upsample DepthToSpace SpaceToDepth ReduceMean ReduceSum ReduceMax ReduceMin ArgMax
    """.split()  # noqa: SIM905
)
"""What networks of convolutions are made of."""

INTRODUCTION = """\
# Which ONNX models are read

`make conformance` makes this page, from what the official test suite of ONNX {version}, `onnx.backend.test`, gives.

A model of opset 6 or newer is read. Weights, sizes and axes have to be known when it is compiled: as constants, or
folded from the shapes. Where a test gives them as inputs, `cnngen.onnx_backend` binds them to the values that they
have, and compiles for those. All computing is in float32; inputs and weights of type DOUBLE or FLOAT16 are converted,
integers are parameters only.

"""


def page(outcomes: Sequence[Outcome]) -> str:
    """The page for the outcomes of all suites."""
    parts = [INTRODUCTION.format(version=onnx.__version__), _summary(outcomes)]
    nodes = [one for one in outcomes if one.suite == "node" and "_expanded" not in one.name]
    single: dict[str, list[Outcome]] = defaultdict(list)
    for one in nodes:
        if len(one.ops) == 1:
            single[one.ops[0]].append(one)
    parts.append(
        "## Ops of convolutional networks\n\n" + _table({op: single[op] for op in sorted(OPS) if op in single})
    )
    rest = {op: found for op, found in sorted(single.items()) if op not in OPS}
    supported = {op: found for op, found in rest.items() if any(one.status == "passed" for one in found)}
    parts.append("## Other ops that are supported\n\n" + _table(supported))
    others = sorted(set(rest) - set(supported))
    parts.append("## Ops that are not supported\n\n" + ", ".join(f"`{op}`" for op in others) + ".\n")
    parts.append("## Why a test is not supported\n\n" + _reasons(outcomes))
    parts.append("## Other models\n\n" + _models(outcomes))
    return "\n".join(parts)


def of_float(one: Outcome) -> bool:
    """Whether a test of single ops is one of the ops above on float tensors."""
    return one.suite == "node" and "_expanded" not in one.name and set(one.ops) <= OPS and one.of_float


def _summary(outcomes: Sequence[Outcome]) -> str:
    suites = dict.fromkeys(one.suite for one in outcomes)
    chosen: list[tuple[str, list[Outcome]]] = [
        ("single ops of convolutional networks on floats", [one for one in outcomes if of_float(one)])
    ]
    for suite in suites:
        own = [one for one in outcomes if one.suite == suite]
        if suite == "node":
            chosen.append(("`node`: all single ops", [one for one in own if "_expanded" not in one.name]))
            chosen.append(
                ("`node`, ops written out as their definitions", [one for one in own if "_expanded" in one.name])
            )
        else:
            chosen.append((f"`{suite}`", own))
    lines = ["| tests | passed | not supported | failed |", "|---|---:|---:|---:|"]
    for what, found in chosen:
        number = counts(found)
        lines.append(f"| {what} | {number['passed']} of {len(found)} | {number['unsupported']} | {number['failed']} |")
    return "\n".join(lines) + "\n"


def _table(ops: dict[str, list[Outcome]]) -> str:
    lines = ["| op | passed | not supported |", "|---|---:|---|"]
    for op, found in ops.items():
        passed = sum(one.status == "passed" for one in found)
        lines.append(f"| {op} | {passed} of {len(found)} | {_why(one for one in found if one.status != 'passed')} |")
    return "\n".join(lines) + "\n"


def _why(found: Iterable[Outcome]) -> str:
    """Reasons with their numbers of tests."""
    reasons = Counter(one.reason if one.status == "unsupported" else f"FAILED {one.name}" for one in found)
    return "; ".join(f"{_cell(reason)} ({number})" for reason, number in sorted(reasons.items(), key=_often))


def _reasons(outcomes: Sequence[Outcome]) -> str:
    found = Counter(
        "an op that is not supported" if one.reason.startswith("the op ") else one.reason
        for one in outcomes
        if one.status == "unsupported"
    )
    lines = ["| reason | tests |", "|---|---:|"]
    lines += [f"| {_cell(reason)} | {number} |" for reason, number in sorted(found.items(), key=_often)]
    return "\n".join(lines) + "\n"


def _models(outcomes: Sequence[Outcome]) -> str:
    lines = ["| suite | model | outcome |", "|---|---|---|"]
    lines += [
        f"| {one.suite} | {one.name} | {one.status}{f': {_cell(one.reason)}' if one.reason else ''} |"
        for one in outcomes
        if one.suite != "node"
    ]
    return "\n".join(lines) + "\n"


def _often(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:120]
