"""Networks that were compiled before, by what was asked for: a warm start reads one file in place of the pipeline.

The cache of libraries (`cnngen.cache`) is addressed by what is compiled, which is known only after a network has been
read, planned and printed. A manifest is addressed by what was asked for: the bytes of the spec, the options, the code
of cnngen, the compiler. It holds the digests of the other files that were read, and which library came out. (ccache
calls this the direct mode.) See docs/cache.md for its place on disk and what happens when something is wrong with it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import cnngen
from cnngen._version import __version__
from cnngen.backends.cpu.compiler import Compiler, file_facts, generator, surroundings
from cnngen.backends.cpu.target import ISAS, available_cores, here, host_isas, resolve
from cnngen.digest import digest_file
from cnngen.errors import CacheWarning, CnngenError, ModelError, Source, WeightsError, WeightsWarning
from cnngen.frontends import ONNX_SUFFIXES, YAML_SUFFIXES
from cnngen.frontends.files import find_weights, open_regular, read_spec
from cnngen.frontends.record import Record, WeightsRead, spec_digest
from cnngen.interface import Interface
from cnngen.ir import Input, TensorType
from cnngen.own_code import own_code
from cnngen.store import LockError, Store, open_store
from cnngen.tuning import Tuned

if TYPE_CHECKING:
    from cnngen.backends.cuda.driver import Properties
    from cnngen.backends.toolchains import AnyCompiler

FORMAT = 6
"""Part of every key: raise it when the meaning of a manifest changes."""

DEPENDENCIES = ("jinja2", "pydantic", "pydantic_core", "yaml")
"""Packages that take part in what a spec becomes. NumPy, which draws random weights, tells its version."""

MODEL_DEPENDENCIES = ("onnx",)
"""Further ones that take part in what an ONNX model becomes."""

LOCK_SECONDS = 10.0
CATEGORIES: dict[str, type[Warning]] = {category.__name__: category for category in (UserWarning, WeightsWarning)}


class Request(NamedTuple):
    """What was asked for: a spec, the options that decide which network it gives, and where that happened.

    `circumstances` is the digest of everything that decides the network except the files of the user; relative
    paths begin at `cwd`.
    """

    spec: Path
    weights: Path | None
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    name: str | None
    batch: int
    isa: str
    threads: int | None
    numerics: str
    weight_storage: str
    target: str
    precision: str
    architectures: str
    tuning: Path | None
    cwd: Path
    gpu: Properties | None = None
    circumstances: str = ""

    @property
    def is_model(self) -> bool:
        """Whether `spec` is an ONNX model, not a spec."""
        return self.spec.suffix.lower() in ONNX_SUFFIXES

    def files(self) -> tuple[Path, Path | None]:
        """The spec and the weights given with it: as they were given, if that still leads there."""
        if Path.cwd() == self.cwd:
            return self.spec, self.weights
        return self.cwd / self.spec, self.weights and self.cwd / self.weights


class Known(NamedTuple):
    """What came out when the same was asked for before; `sources` is the digest of the source tree."""

    interface: Interface
    library: Path
    sources: str
    warnings: Sequence[tuple[str, type[Warning]]]
    tuned: Tuned = Tuned()


def ask(
    source: object,
    *,
    weights: str | Path | None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    name: str | None,
    batch: int,
    isa: str,
    threads: int | None,
    numerics: str,
    weight_storage: str = "fp32",
    target: str = "cpu",
    precision: str = "fp32",
    architectures: str = "native",
    tuning: Path | None = None,
    gpu: Properties | None = None,
) -> Request | None:
    """The request for these options; None for a source that is not the path of a spec or a model.

    Raises `TargetError` for an ISA, a number of threads, a precision or architectures that cannot be had.
    """
    if not isinstance(source, str | Path) or Path(source).suffix.lower() not in (*YAML_SUFFIXES, *ONNX_SUFFIXES):
        return None
    try:
        given = None if weights is None else Path(weights)
        sizes = tuple((key, tuple(shape)) for key, shape in (shapes or {}).items())
        rest = weight_storage, target, precision, architectures, tuning
        request = Request(Path(source), given, sizes, name, batch, isa, threads, numerics, *rest, Path.cwd(), gpu)
        return request._replace(circumstances=_circumstances(request))
    except OSError:
        return None  # neither the current folder nor cnngen has to be readable


def find(request: Request) -> Known | None:
    """What `request` gave before; None where that is not known, or where a file has changed since.

    Never raises: whatever is wrong, the pipeline finds it again and says it. A manifest that is damaged goes to
    quarantine, with a `CacheWarning`.
    """
    try:
        store = open_store()
        if store is None:
            return None
        key = _key(request, _content(request))
        found = store.find_manifest(key)
        if found.damage is not None:
            _quarantine(store, key)
        body = found.body
        if body is None or not _files_are_the_same(request, body):
            return None
        library = store.find(body["library"]).library
    except (OSError, CnngenError):
        return None
    return None if library is None else _from_body(body, library)


def keep(request: Request, record: Record, known: Known, compiler: AnyCompiler) -> bool:
    """Write down that `request` gave `known`, for the next process that asks; whether that was done.

    Without effect where the library is not in the cache, or where code or compiler changed on the way: then it is
    not certain which of them made it. Trouble is a `CacheWarning`.
    """
    try:
        store = open_store()
        content = record.content()
        if store is None or content is None or known.library.parent.parent != store.root / "entries":
            return False
        if own_code().changed >= cnngen.IMPORTED_AT or _circumstances(request) != request.circumstances:
            return False
        if isinstance(compiler, Compiler):
            paths: tuple[str, ...] = (compiler.command[0], generator(compiler))
        else:
            paths = compiler.programs
        programs = {path: file_facts(path) for path in paths}
        store.write_manifest(_key(request, content), _as_body(known, record, programs))
    except OSError as error:
        text = f"the next start will not be quick: {error.filename}: {error.strerror}"
        warnings.warn(text, CacheWarning, stacklevel=3)
        return False
    return True


def _circumstances(request: Request) -> str:
    """Digest of options, machine, cnngen, the packages it needs, and compiler."""
    machine, compilers = _machine(request)
    options = request._replace(cwd=Path(), circumstances="")
    packages = [
        file_facts(found.origin)
        for name in (*DEPENDENCIES, *(MODEL_DEPENDENCIES if request.is_model else ()))
        if (found := importlib.util.find_spec(name)) is not None and found.origin is not None
    ]
    software = (__version__, own_code().digest, sys.version, np.__version__, *packages, *compilers)
    return _digest(FORMAT, options, machine, software)


def _machine(request: Request) -> tuple[tuple[object, ...], list[str]]:
    """What the target is on this machine, and all that the choice of its compiler goes by."""
    if request.target == "cpu":
        target = here(resolve(request.isa, 1 if request.threads is None else request.threads))
        cores = available_cores() if request.threads is None else None
        return (target.name, target.flags, target.machine, cores), surroundings()
    from cnngen.backends.cuda import compiler as cuda
    from cnngen.backends.cuda import target as cuda_target

    emulated = request.target == cuda_target.EMULATED
    gpu = cuda_target.resolve(request.architectures, request.precision, emulated=emulated)
    names = tuple(architecture.name for architecture in gpu.architectures)
    if emulated:
        return (gpu.name, names, ISAS[host_isas()[-1]].flags), surroundings()
    return (gpu.name, names), cuda.surroundings()


def _content(request: Request) -> str:
    """The digest of the spec or model as it is now. Raises what the front end raises where it cannot be read."""
    if request.is_model:
        with open_regular(request.spec, ModelError) as handle:
            return digest_file(handle.fileno()).hex()
    return spec_digest(read_spec(request.spec))


def _key(request: Request, content: str) -> str:
    return _digest(request.circumstances, content)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _files_are_the_same(request: Request, body: dict[str, Any]) -> bool:
    """Whether the compiler's programs and the weights are still what the manifest was written with.

    Raises what the front end raises for a file that cannot be read, or that lies where it must not.
    """
    if any(file_facts(path) != facts for path, facts in body["programs"].items()):
        return False
    if request.tuning is not None and not _choices_are_the_same(request.tuning, body):
        return False
    if body["data"]:
        from cnngen.frontends.onnx.external import model_data_digest

        if any(digest != model_data_digest(request.spec, name) for name, digest in body["data"]):
            return False
    if body["weights"] is None:
        return True
    kept = WeightsRead(*body["weights"])
    path, place = request.weights, kept.place
    if path is None:
        path, place = find_weights(request.spec.parent, kept.name, Source(str(request.spec)))
    with open_regular(path, WeightsError) as handle:
        return kept == WeightsRead(kept.name, place, path.name, digest_file(handle.fileno()).hex())


def _choices_are_the_same(tuning: Path, body: dict[str, Any]) -> bool:
    """Whether the file of tuned choices says what it did of the layers of this network. Raises `TuningError`."""
    from cnngen.tuning.file import TuningFile

    file = TuningFile(tuning)
    device, choices, *_ = body["tuned"]
    return all(file.find(device, key) == choice for key, choice in choices.items())


def _quarantine(store: Store, key: str) -> None:
    """Move a damaged manifest aside, unless another process has put a good one there in the meantime."""
    with suppress(LockError), store.lock(key, LOCK_SECONDS):
        damage = store.find_manifest(key).damage
        if damage is not None:
            store.quarantine(key, "manifests")
            text = f"cached manifest {key[:12]}: {damage}; moved to {store.root / 'quarantine'}"
            warnings.warn(text, CacheWarning, stacklevel=4)


def _as_body(known: Known, record: Record, programs: dict[str, str]) -> dict[str, Any]:
    interface = known.interface
    return {
        "library": known.library.parent.name,
        "sources": known.sources,
        "programs": programs,
        "weights": record.weights,
        "data": record.data,
        "tuned": known.tuned._replace(choices={key: dict(fields) for key, fields in known.tuned.choices.items()}),
        "warnings": [(text, category.__name__) for text, category in record.warnings],
        "interface": {
            **interface._asdict(),
            "inputs": [(tensor.name, tensor.type.shape) for tensor in interface.inputs],
            "outputs": [(tensor.name, tensor.type.shape) for tensor in interface.outputs],
        },
    }


def _from_body(body: dict[str, Any], library: Path) -> Known:
    def tensors(pairs: list[Any]) -> tuple[Input, ...]:
        return tuple(Input(name, TensorType(tuple(shape))) for name, shape in pairs)

    fields = body["interface"]
    interface = Interface(**{**fields, "inputs": tensors(fields["inputs"]), "outputs": tensors(fields["outputs"])})
    return Known(
        interface,
        library,
        body["sources"],
        [(text, CATEGORIES[name]) for text, name in body["warnings"]],
        Tuned(*body["tuned"]),
    )
