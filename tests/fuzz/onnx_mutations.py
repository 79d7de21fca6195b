"""Mutated ONNX models: each is read and planned, or refused with a typed error; nothing else comes out.

    python -m tests.fuzz.onnx_mutations --count 5000 --seed 1

Small models are damaged as files (bits, truncation, pieces moved or doubled) and as messages (fields with other
values, nodes with other ops, inputs and shapes). They are tried in processes of their own, which may not take more than
`MEMORY` bytes or `SECONDS` for one model, and report whatever they open for writing or remove outside of their folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from cnngen import pipeline
from cnngen.cache import cache_folder
from cnngen.errors import CnngenError
from cnngen.ir import Graph
from tests.onnx_models import convolution

SECONDS = 20
MEMORY = 4 << 30
BATCH = 250
"""Models for one process."""
PLANNED = 5_000_000
"""Elements and multiply-accumulates of a network up to which it is planned and printed, too."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NUMBERS = (0, 1, -1, 2, 3, 7, 64, 255, 65536, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63))
OPS = sorted(
    {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""} | {"", "Nothing", "\u202egnihtoN"}
)


def base_models() -> list[bytes]:
    """Models that are valid: a written one, and exports of the examples."""
    from tests.differential.onnx_twin import onnx_model
    from tests.graphs import EXAMPLES

    names = ("lenet", "inception", "two_inputs", "squeeze_excitation", "transposed_decoder", "ceil_pools")
    models = [convolution(), *(onnx_model(EXAMPLES[name]()) for name in names)]
    return [model.SerializeToString() for model in models]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to three kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice((_flipped, _truncated, _moved, _doubled, _numbered, *(_changed,) * 8))(data, rng)
    return data


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    # The weights are most of a file, and damage to them changes nothing that is checked: mostly damage its ends.
    span = min(len(changed), rng.choice((200, 2000, len(changed) or 1)))
    for _ in range(rng.randint(1, 8) if changed else 0):
        at = rng.randrange(span)
        changed[at if rng.random() < 0.7 else -1 - at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _moved(data: bytes, rng: random.Random) -> bytes:
    a, b, c = sorted(rng.randint(0, len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _doubled(data: bytes, rng: random.Random) -> bytes:
    a = rng.randint(0, len(data))
    b = min(len(data), a + rng.randint(1, 300))
    return data[:b] + data[a:b] * rng.randint(1, 4) + data[b:]


def _numbered(data: bytes, rng: random.Random) -> bytes:
    """A byte becomes a long number in protobuf's coding."""
    at = rng.randint(0, len(data))
    return data[:at] + bytes(0x80 | rng.randrange(128) for _ in range(rng.randint(1, 9))) + b"\1" + data[at + 1 :]


def _changed(data: bytes, rng: random.Random) -> bytes:
    """The message with one field changed; `data` where it is no model any more."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # what DecodeError derives from depends on protobuf's version
        return data
    graph = model.graph
    choices: list[Any] = [None]
    if graph.node:
        node = rng.choice(graph.node)
        other = rng.choice(graph.node)
        names = [name for each in graph.node for name in (*each.input, *each.output)] or [""]
        choices += [
            lambda: setattr(node, "op_type", rng.choice(OPS)),
            lambda: node.input and node.input.__setitem__(rng.randrange(len(node.input)), rng.choice(names)),
            lambda: node.input.append(rng.choice(names)),
            lambda: node.input and node.input.pop(rng.randrange(len(node.input))),
            lambda: node.output.append(rng.choice(names)),
            lambda: node.CopyFrom(other),
            lambda: node.attribute.append(
                helper.make_attribute(rng.choice(ATTRIBUTES), rng.choice((rng.choice(NUMBERS), [3, 0], 0.5, "x")))
            ),
            lambda: node.attribute and _other_attribute(rng.choice(node.attribute), rng),
        ]
    if graph.initializer:
        tensor = rng.choice(graph.initializer)
        choices += [
            lambda: tensor.dims and tensor.dims.__setitem__(rng.randrange(len(tensor.dims)), rng.choice(NUMBERS)),
            lambda: tensor.dims.append(rng.choice(NUMBERS)),
            lambda: setattr(tensor, "data_type", rng.randint(-1, 30)),
            lambda: setattr(tensor, "raw_data", tensor.raw_data[: rng.randint(0, 64)]),
            lambda: _externalised(tensor, rng),
            lambda: setattr(tensor, "name", rng.choice(names) if graph.node else ""),
        ]
    for values in (graph.input, graph.output):
        if values:
            value = rng.choice(values)
            choices += [
                lambda value=value: [
                    setattr(dim, "dim_value", rng.choice(NUMBERS)) for dim in value.type.tensor_type.shape.dim
                ],
                lambda value=value: value.type.tensor_type.shape.dim.add(),
                lambda value=value: setattr(value.type.tensor_type, "elem_type", rng.randint(-1, 30)),
                lambda value=value: setattr(value, "name", ""),
            ]
    if model.opset_import:
        choices.append(lambda: setattr(model.opset_import[0], "version", rng.choice((*range(1, 30), *NUMBERS))))
        choices.append(lambda: setattr(model.opset_import[0], "domain", rng.choice(("ai.onnx", "ai.onnx.ml", "x"))))
    change = rng.choice(choices)
    try:
        if change is not None:
            change()
        return bytes(model.SerializeToString())
    except (ValueError, TypeError, UnicodeError):  # the field does not take it
        return data


ATTRIBUTES = (
    "axis", "axes", "kernel_shape", "strides", "pads", "dilations", "group", "auto_pad", "alpha", "beta", "epsilon",
    "transB", "perm", "to", "mode", "keepdims", "ceil_mode", "size", "output_shape", "output_padding", "value",
)  # fmt: skip


def _other_attribute(attribute: onnx.AttributeProto, rng: random.Random) -> None:
    for position in range(len(attribute.ints)):
        if rng.random() < 0.5:
            attribute.ints[position] = rng.choice(NUMBERS)
    attribute.i = rng.choice(NUMBERS)
    attribute.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    if rng.random() < 0.2:
        attribute.type = rng.randint(0, 14)
    if rng.random() < 0.2:
        attribute.ints.append(rng.choice(NUMBERS))


def _externalised(tensor: onnx.TensorProto, rng: random.Random) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    location = rng.choice(("model.onnx", "../secret", "/etc/passwd", ".", "missing", "model.onnx/x"))
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(rng.choice(NUMBERS)))
    if rng.random() < 0.5:
        tensor.external_data.add(key="length", value=str(rng.choice(NUMBERS)))


def attempt(path: Path) -> str:
    """What becomes of the model at `path`: read, or the name of a typed error. Anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = pipeline.load_graph(path)
            if small(graph):
                pipeline.sources(pipeline.plan_for(graph, isa="scalar", threads=1))
                return "planned"
            return "read"
        except CnngenError as error:
            message = str(error)
            assert len(message) < 4000, f"a message of {len(message)} characters"
            assert message.isprintable() or "\n  " in message, repr(message[:300])
            return type(error).__name__


def small(graph: Graph) -> bool:
    costs = [node.op.cost(graph.input_types(node), graph.types[node.name]) for node in graph.nodes]
    most = max((tensor.elements for tensor in graph.types.values()), default=0)
    return max(most, sum(cost.macs + cost.params for cost in costs)) < PLANNED


def _work(models: list[bytes], seed: int, numbers: list[int], folder: str, results: Any) -> None:
    """In a process of its own: try the mutations of these numbers, report each."""
    # On top of what the process that forks has mapped already.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = MEMORY + pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    written: list[str] = []
    cache = str(cache_folder())

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and len(arguments) == 3:
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and flags & WRITING) or (isinstance(mode, str) and set(mode) & set("wax+"))
            if writes and isinstance(path, str | bytes | os.PathLike):
                note(os.fsdecode(path))
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"):
            note(str(arguments[0]))

    def note(path: str) -> None:
        if not path.startswith(cache) and not cache.startswith(f"{path}/"):  # where printed templates are kept
            written.append(path)

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    sys.dont_write_bytecode = True
    path = Path(folder) / "model.onnx"
    signal.signal(signal.SIGALRM, late)
    watching = False
    for number in numbers:
        path.write_bytes(mutation(models, seed, number))
        results.put((number, "started", ""))
        if not watching:
            sys.addaudithook(lambda event, arguments: watch(event, arguments) if signal.getitimer(0)[0] else None)
            watching = True
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            outcome, detail = attempt(path), ""
        except BaseException as error:
            outcome, detail = "FAILED", f"{type(error).__name__}: {str(error)[:300]}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if written:
            outcome, detail = "FAILED", f"wrote {written[:3]}"
            written.clear()
        results.put((number, outcome, detail))


def mutation(models: list[bytes], seed: int, number: int) -> bytes:
    """Mutation `number` of a campaign."""
    rng = random.Random(f"{seed}:{number}")
    return mutate(rng.choice(models), rng)


def campaign(count: int, seed: int, report: Any = None) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How often each outcome came, and the failures: number and what happened."""
    models = base_models()
    context = multiprocessing.get_context("fork")
    outcomes: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    pending = list(range(count))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "folder"
        folder.mkdir()
        (Path(root) / "secret").write_bytes(b"\0" * 100_000)
        while pending:
            results = context.SimpleQueue()
            worker = context.Process(target=_work, args=(models, seed, pending[:BATCH], str(folder), results))
            worker.start()
            done: dict[int, tuple[str, str]] = {}
            while worker.is_alive() or not results.empty():
                if results.empty():
                    worker.join(0.02)
                    continue
                number, outcome, detail = results.get()
                done[number] = (outcome, detail)
            worker.join()
            for number, (outcome, detail) in done.items():
                if outcome == "started":
                    outcome, detail = "FAILED", f"the process ended with {worker.exitcode}"
                outcomes[outcome] += 1
                if outcome == "FAILED":
                    failures.append((number, detail))
            if not done:
                raise RuntimeError(f"the process did nothing and ended with {worker.exitcode}")
            pending = [number for number in pending if number not in done]
            if report is not None:
                report(count - len(pending), outcomes)
        assert sorted(path.name for path in Path(root).iterdir()) == ["folder", "secret"]
        assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    return outcomes, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="try this mutation alone, here, with its traceback")
    options = parser.parse_args()
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(mutation(base_models(), options.seed, options.only))
            try:
                print(attempt(path))
            except CnngenError as error:
                print(error)
        return
    print(f"{options.count} mutations, seed {options.seed}", flush=True)
    outcomes, failures = campaign(
        options.count, options.seed, lambda done, found: print(f"{done}: {json.dumps(found)}", flush=True)
    )
    for number, detail in failures:
        print(f"FAILED --seed {options.seed} --only {number}: {detail}")
    print(json.dumps(outcomes))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
