"""A run of the fuzzer: draws networks, checks them in groups in processes of their own, shrinks and saves failures."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import HypothesisException

from cnngen.backends.cpu import emit as cpu_emit
from cnngen.backends.cuda import emit as cuda_emit
from tests.fuzz.check import Failure, Tally, Witness, check_group
from tests.fuzz.coverage import observations
from tests.fuzz.document import Document
from tests.fuzz.fields import FIELDS
from tests.fuzz.networks import documents
from tests.native import RUNNABLE

NUMBERS = 1_000_000
"""Networks of a seed: more would be those of the next one."""
GROUP = 12
"""Networks compiled together."""
GROUP_LIMIT = 900.0
"""Seconds for a group; what takes longer hangs."""
SHRINK_LIMIT = 180.0
"""Seconds for making a failing network small."""

MOST_FAILURES = 10
"""After so many something is wrong with all networks."""


class MismatchError(AssertionError):
    """Tells Hypothesis that a network fails."""


Edit = tuple[str, str, str]
"""Part of a kernel's name, a regular expression, its replacement."""


@dataclass(frozen=True)
class Options:
    """What a run checks and how. With `drawn`, every network is for one of the ISAs only."""

    isas: tuple[str, ...] = RUNNABLE
    kinds: tuple[str, ...] = tuple(FIELDS)
    drawn: bool = False
    witnesses: tuple[Witness, ...] | None = None
    flags: tuple[str, ...] = ()
    group: int = GROUP
    workers: int = 1
    shrink_limit: float = SHRINK_LIMIT
    planted: tuple[Edit, ...] = ()
    """Errors to print into kernels, to see whether they are found."""


class OutOfTime(BaseException):  # no error: Hypothesis catches those
    """Ends the search for a smaller network."""


@dataclass(frozen=True)
class Found:
    """A network that fails, made small, and why; `drawn` is what it was before."""

    document: Document
    failures: tuple[Failure, ...]
    drawn: Document
    seed: int
    number: int


@dataclass
class Result:
    """What a run did."""

    networks: int = 0
    seconds: float = 0.0
    found: list[Found] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)


@dataclass
class Answer:
    """What comes back from the process that checks a group. `crash` says how it ended where it did not end well."""

    failures: dict[int, list[Failure]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    crash: str | None = None


def draw(seed: int, number: int, kinds: Sequence[str] = tuple(FIELDS)) -> Document:
    """Network `number` of the run with this seed."""
    drawn: list[Document] = []
    _explore(seed, number, kinds, drawn.append)
    return drawn[-1]


def shrink(
    seed: int, number: int, kinds: Sequence[str], target: Document, fails: Callable[[Document], bool]
) -> Document:
    """The smallest network that Hypothesis finds to fail, starting at `target`: `draw(seed, number, kinds)`."""
    smallest = target
    reached = False

    def test(document: Document) -> None:
        nonlocal smallest, reached
        if not reached and document != target:
            return
        reached = True
        if fails(document):
            smallest = document
            raise MismatchError

    with suppress(MismatchError, OutOfTime, HypothesisException):
        _explore(seed, number, kinds, test, Phase.shrink)
    return smallest


def _explore(seed: int, number: int, kinds: Sequence[str], test: Callable[[Document], None], *phases: Phase) -> None:
    """Let Hypothesis draw two networks: the simplest one, which is always the same, and a random one.

    Of more it would make mutations of those before, which are much like them.
    """
    settings = hypothesis.settings(
        max_examples=2,
        phases=[Phase.generate, *phases],
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(seed * NUMBERS + number)
    @settings
    @hypothesis.given(documents(tuple(kinds)))
    def run(document: Document) -> None:
        test(document)

    run()


def run(
    seed: int,
    *,
    networks: int | None = None,
    seconds: float | None = None,
    options: Options = Options(),
    report: Callable[[Result], None] = lambda result: None,
    on_failure: Callable[[Found], None] = lambda found: None,
    on_first_sight: Callable[[Failure], None] = lambda failure: None,
) -> Result:
    """Check random networks until so many were checked, so many seconds have passed, or `MOST_FAILURES` were found.

    `report` is called after every group, `on_first_sight` when a network fails, `on_failure` when it was made small.
    """
    start = time.monotonic()
    result = Result()
    context = _Workers(options)

    def more() -> bool:
        in_time = seconds is None or time.monotonic() - start < seconds
        return in_time and len(result.found) < MOST_FAILURES

    for group, answer in context.answers(_groups(seed, networks, options), more):
        result.networks += len(group.documents)
        result.counts += answer.counts
        for name in vars(result.tally):
            setattr(result.tally, name, getattr(result.tally, name) + getattr(answer.tally, name))
        for number, failures in (_one_by_one(group, answer, options) if answer.crash else answer.failures).items():
            if len(result.found) == MOST_FAILURES:
                break
            on_first_sight(failures[0])
            found = _minimal(group, number, failures, options)
            result.found.append(found)
            on_failure(found)
        result.seconds = time.monotonic() - start
        report(result)
    result.seconds = time.monotonic() - start
    return result


@dataclass(frozen=True)
class Group:
    """Networks that are checked together: so many of a seed, from number `first` on."""

    seed: int
    first: int
    documents: tuple[Document, ...]


def _groups(seed: int, networks: int | None, options: Options) -> Iterator[Group]:
    first = 0
    while networks is None or first < networks:
        count = options.group if networks is None else min(options.group, networks - first)
        yield Group(seed, first, tuple(draw(seed, first + i, options.kinds) for i in range(count)))
        first += count


class _Workers:
    """Processes that check groups, a process for each."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def answers(self, groups: Iterator[Group], more: Callable[[], bool]) -> Iterator[tuple[Group, Answer]]:
        """Start groups as long as there is `more` time, and give back what each finds."""
        busy: dict[Connection, tuple[Group, _Child]] = {}
        try:
            while True:
                while len(busy) < self.options.workers and more():
                    group = next(groups, None)
                    if group is None:
                        break
                    child = _Child(group.documents, self.options)
                    busy[child.pipe] = (group, child)
                if not busy:
                    return
                ready = wait(list(busy), timeout=1.0)
                late = [pipe for pipe, (_, child) in busy.items() if child.is_late and pipe not in ready]
                for pipe in [*ready, *late]:
                    group, child = busy.pop(pipe)  # type: ignore[index]  # `wait` returns what it was given
                    yield group, child.answer()
        finally:
            for _, child in busy.values():
                child.stop()


class _Child:
    """A process that checks documents: it may crash or hang without harm.

    It is forked from a server that has run nothing: OpenMP does not survive a fork of a process that has used it.
    """

    def __init__(self, documents: Sequence[Document], options: Options, limit: float = GROUP_LIMIT) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.fuzz.campaign"])
        self.pipe, theirs = context.Pipe(duplex=False)
        self.deadline = time.monotonic() + limit
        self.process = context.Process(target=_check_in_child, args=(documents, options, theirs), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def answer(self) -> Answer:
        """Wait for the process, and return what it found or how it ended."""
        try:
            if self.pipe.poll(max(self.deadline - time.monotonic(), 0)):
                answer: Answer = self.pipe.recv()
            else:
                answer = Answer(crash="took too long: it hangs")
        except EOFError:
            self.process.join(5)
            answer = Answer(crash=_ending(self.process.exitcode))
        self.stop()
        return answer

    def stop(self) -> None:
        self.process.join(0.2)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _ending(code: int | None) -> str:
    return f"crashed: {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"


def _check_in_child(documents: Sequence[Document], options: Options, pipe: Any) -> None:
    answer = Answer()
    _plant(options.planted)
    with tempfile.TemporaryDirectory(prefix="cnngen-fuzz-") as name:
        folder = Path(name)
        try:
            answer.failures = check_group(
                documents,
                folder,
                isas=options.isas,
                witnesses=options.witnesses,
                tally=answer.tally,
                flags=options.flags,
                drawn=options.drawn,
            )
            for number, document in enumerate(documents):
                answer.counts.update(observations(document, document.graph(folder / f"net{number}", 1)))
                answer.counts.update(f"batch {batch}" for batch in document.batches)
        except Exception:
            answer = Answer(crash=traceback.format_exc(limit=-6))
        pipe.send(answer)
        pipe.close()


def _plant(edits: Sequence[Edit]) -> None:
    for module in (cpu_emit, cuda_emit) if edits else ():
        render: Callable[[Any, str], str] = module.render_kernel

        def edited(kernel: Any, symbol: str, render: Callable[[Any, str], str] = render) -> str:
            text = render(kernel, symbol)
            for part, pattern, replacement in edits:
                text = re.sub(pattern, replacement, text) if part in symbol else text
            return text

        module.render_kernel = edited


def check_one(document: Document, options: Options) -> list[Failure]:
    """The failures of one network, found in a process of its own."""
    answer = _Child([document], options, limit=GROUP_LIMIT / 5).answer()
    return [Failure("network", answer.crash)] if answer.crash else answer.failures.get(0, [])


def _one_by_one(group: Group, answer: Answer, options: Options) -> dict[int, list[Failure]]:
    """Which networks of a group make its process end badly; all of them where they do so only together."""
    found = {number: check_one(document, options) for number, document in enumerate(group.documents)}
    failing = {number: failures for number, failures in found.items() if failures}
    return failing or {0: [Failure("group", f"only together: {answer.crash}")]}


def _minimal(group: Group, number: int, failures: list[Failure], options: Options) -> Found:
    """The failure with its network made as small as time allows, on the ISAs that fail."""
    document = group.documents[number]
    isas = tuple(isa for isa in options.isas if any(failure.where.startswith(f"{isa},") for failure in failures))
    witnesses = options.witnesses if any(failure.where == "onnx" for failure in failures) or not isas else ()
    isas = isas[:1] if options.drawn else isas
    narrow = replace(options, isas=isas or options.isas, drawn=options.drawn and not isas, witnesses=witnesses)
    verdicts = {document.text: failures}
    end = time.monotonic() + options.shrink_limit

    def fails(candidate: Document) -> bool:
        key = f"{candidate.text} {candidate.batches} {candidate.stored}"
        if candidate == document:
            return True
        if time.monotonic() > end:
            raise OutOfTime
        if key not in verdicts:
            verdicts[key] = check_one(candidate, narrow)
        return bool(verdicts[key])

    smallest = shrink(group.seed, group.first + number, options.kinds, document, fails)
    why = verdicts.get(f"{smallest.text} {smallest.batches} {smallest.stored}", failures)
    return Found(smallest, tuple(why), document, group.seed, group.first + number)


def save(found: Found, folder: Path) -> Path:
    """Put the failing network into a folder of its own in `folder`: its spec, weights, and what fails."""
    digest = hashlib.sha256(found.document.text.encode()).hexdigest()[:10]
    place = folder / digest
    comment = "\n".join(
        [
            f"Network {found.number} of seed {found.seed}, made small. To check it again:",
            f"    python -m tests.fuzz --spec {place / 'net.yaml'}",
            *str(found.failures[0]).splitlines(),
        ]
    )
    path = found.document.write(place, comment=comment)
    (place / "failures.txt").write_text("\n\n".join(map(str, found.failures)) + "\n", encoding="utf-8")
    (place / "drawn.yaml").write_text(found.drawn.text, encoding="utf-8")
    return path
