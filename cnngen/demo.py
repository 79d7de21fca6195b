"""`make demo`: compiles the shipped LeNet, verifies it, and reads real handwritten digits with it.

    python -m cnngen.demo

The exit status is 0 where everything held: the native code passed `verify`, it reads every digit as
the reference does, and at least 97 % of them right. 1 where it did not; other errors as in
`cnngen.errors`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

import cnngen
from cnngen.errors import CnngenError
from cnngen.ir import Array
from cnngen.resources import specs_folder

GOAL = 97
"""Digits of a hundred that LeNet has to read right."""
BUILD = Path("build") / "lenet"
INK = 96
"""Pixels of at least this value are drawn."""
CELLS = " ▄▀█"
"""A character cell holds two pixels: the index is 2 * upper + lower."""
COLUMNS = 78
TIMED_RUNS = 2000


@dataclass(frozen=True, eq=False)
class Reading:
    """What the native code and the reference read: probabilities (digits, 10) and the truth (digits)."""

    native: Array
    reference: Array
    labels: Array

    @property
    def read(self) -> Array:
        """The digit that the native code sees in each picture."""
        return np.asarray(self.native.argmax(axis=1))

    @property
    def differing(self) -> Array:
        """Indices of the digits that native code and reference read differently."""
        return np.flatnonzero(self.read != self.reference.argmax(axis=1))

    @property
    def misread(self) -> Array:
        """Indices of the digits that the native code reads wrong."""
        return np.flatnonzero(self.read != self.labels)

    @property
    def correct(self) -> int:
        return len(self.labels) - len(self.misread)

    @property
    def reference_correct(self) -> int:
        return int((self.reference.argmax(axis=1) == self.labels).sum())

    def failures(self) -> list[str]:
        """What does not hold, one sentence each; empty where all is well."""
        found = []
        if len(self.differing):
            where = ", ".join(map(str, self.differing[:5]))
            found.append(f"native code and reference read {len(self.differing)} digits differently (digit {where})")
        if 100 * self.correct < GOAL * len(self.labels):
            found.append(f"{self.correct} of {len(self.labels)} digits were read right, {GOAL} % were expected")
        return found

    def caption(self, index: int) -> str:
        """`7 100%`: what digit `index` is read as and how sure the network is; `3 not 5` where that is wrong."""
        read, label = int(self.read[index]), int(self.labels[index])
        return f"{read} {self.native[index, read]:.0%}" if read == label else f"{read} not {label}"


def load_digits() -> tuple[Array, Array]:
    """The shipped digits: uint8 pictures (200, 28, 28), 255 is ink, and labels (200)."""
    with np.load(specs_folder() / "data" / "digits.npz") as file:
        return file["images"], file["labels"]


def network_input(pictures: Array) -> Array:
    """What LeNet takes: float32 (digits, 28, 28, 1), 0 to 1."""
    return np.ascontiguousarray(pictures[..., None], np.float32) / np.float32(255)


def draw(picture: Array) -> list[str]:
    """Lines of half-block characters for a uint8 picture (height, width), cut to its ink."""
    ink = picture >= INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return []
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if len(cut) % 2:
        cut = np.vstack([cut, np.zeros_like(cut[:1])])
    cells = 2 * cut[0::2].astype(int) + cut[1::2]
    return ["".join(CELLS[cell] for cell in line) for line in cells]


def gallery(pictures: Sequence[Array], captions: Sequence[str], *, columns: int = COLUMNS) -> tuple[list[str], int]:
    """One row of pictures with their captions below, as lines, and how many fit into `columns`."""
    blocks: list[list[str]] = []
    used = 0
    for picture, caption in zip(pictures, captions, strict=True):
        lines = [*draw(picture), caption]
        width = max(map(len, lines))
        if used + width > columns:
            break
        blocks.append([line.center(width) for line in lines])
        used += width + 3
    height = max(map(len, blocks), default=0)
    padded = [[" " * len(block[0])] * (height - len(block)) + block for block in blocks]
    return ["   ".join(parts).rstrip() for parts in zip(*padded, strict=True)], len(blocks)


def median_seconds(call: Callable[[], object], runs: int = TIMED_RUNS) -> float:
    """Median of `runs` timed calls, after a tenth as many to warm up."""
    samples = []
    for run in range(runs + runs // 10):
        start = time.perf_counter_ns()
        call()
        if run >= runs // 10:
            samples.append(time.perf_counter_ns() - start)
    return float(np.median(samples)) * 1e-9


def read_digits(network: Any, pictures: Array, labels: Array) -> Reading:
    """Run `network` and the reference of the graph that it was compiled from on the same pictures."""
    x = network_input(pictures)
    reference = cnngen.reference(network.source_graph, x)
    return Reading(np.asarray(network(x)), np.asarray(reference), labels)


def show(console: Console, reading: Reading, pictures: Array) -> None:
    """Draw the first digits of the file, and those that were misread."""
    for title, indices, rows in (("the first of them", np.arange(len(pictures)), 2), ("misread", reading.misread, 1)):
        if not len(indices):
            continue
        console.print(f"\n  {title}:", style="dim")
        for _ in range(rows):
            captions = [reading.caption(int(index)) for index in indices]
            lines, count = gallery([pictures[index] for index in indices], captions)
            console.print()
            for line in lines:
                console.print(Text("  " + line), no_wrap=True, crop=False)
            indices = indices[count:]


def demo(console: Console) -> int:
    """Run the demonstration; returns the exit status."""
    spec = specs_folder() / "lenet.yaml"
    console.print("[bold]cnngen[/bold] compiles a network into native code made for that one network.\n")
    with console.status("compiling LeNet"):
        start = time.perf_counter()
        network = cnngen.compile(spec, threads=1, build_dir=BUILD)
        seconds = time.perf_counter() - start
    step(console, "compiled", f"{spec.name} for {network.isa}, one thread, in {seconds:.2f} s")

    with network:
        with console.status("verifying"):
            report = cnngen.verify(network)
        if not report.ok:
            console.print(report.summary(), markup=False)
            return 1
        step(console, "verified", f"{len(report.layers)} layers and the whole network against float64 NumPy")

        pictures, labels = load_digits()
        with console.status("reading digits"):
            reading = read_digits(network, pictures, labels)
        step(console, "read", f"{len(labels)} handwritten digits that LeNet was not trained on (MNIST)")
        step(console, "", f"native code {accuracy(reading.correct, labels)}")
        step(console, "", f"reference   {accuracy(reading.reference_correct, labels)}")
        show(console, reading, pictures)

        x = network_input(pictures[:1])
        y = np.empty(network.output_shapes[0], np.float32)
        seconds = median_seconds(lambda: network.run(x, out=y))
    console.print()
    step(console, "time", f"{seconds * 1e6:.1f} microseconds an image (median of {TIMED_RUNS} calls from Python)")
    sources = [path.read_text(encoding="utf-8") for path in BUILD.rglob("*.c")]
    lines = sum(text.count("\n") for text in sources)
    step(console, "generated", f"{len(sources)} C files, {lines} lines, to be read in {BUILD}/")
    failures = reading.failures()
    for failure in failures:
        step(console, "failed", failure, style="bold red")
    return 1 if failures else 0


def accuracy(correct: int, labels: Array) -> str:
    """`97.0% (194 right)`."""
    return f"{correct / len(labels):.1%} ({correct} right)"


def step(console: Console, what: str, text: str, style: str = "bold green") -> None:
    """One line of the protocol: what was done, and the facts."""
    console.print(Text.assemble("  ", (f"{what:<10}", style), " ", text))


def main() -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows `?` instead of a traceback
    try:
        return demo(Console(highlight=False, soft_wrap=True))
    except CnngenError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"cnngen demo: {error}", style="red", markup=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
