"""`Network`: a compiled network, called from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from cnngen import forks
from cnngen.backends.cpu.loader import FFI, Library
from cnngen.calls import FLOAT32, check_arrays, gather, has_torch, one_or_list, values_of
from cnngen.errors import RunError
from cnngen.feed import Feed
from cnngen.interface import Interface, Stages
from cnngen.ir import Array, Graph, Node
from cnngen.repeated import NO_PAIR, pair
from cnngen.tensors import as_array, gpu_to_torch, on_gpu, to_torch
from cnngen.weight_storage import phrase
from cnngen.workspace import Workspace, new_arena

if TYPE_CHECKING:
    from cnngen.arithmetic import Arithmetic
    from cnngen.backends import AnyPlan
    from cnngen.backends.cuda.launcher import Launcher
    from cnngen.report.profile import LayerTime

_may_share_memory = np.may_share_memory


class Network:
    """A network as native code in this process.

    Call it with float32 arrays in the network's own layout: ``net(x)`` for any batch size (or one
    image without the batch axis) if it is `batched`, ``net.run(x, out=y)`` for the compiled batch without an
    allocation. PyTorch tensors work, too, and give tensors; neither they nor results are copied.
    Calls from several threads are safe, release the GIL and give the same bits.
    Also a context manager; after `close` every call raises `RunError`. Processes that are forked from
    this one can call it, too. It cannot be pickled: they have to compile it again, from the cache.

    A network that came from the cache knows its `interface` and its code. `graph`, `source_graph`,
    `plan` and what looks inside are made from the spec again when they are first asked for, and raise
    `CacheError` where its files have changed since.
    """

    def __init__(
        self, interface: Interface, library: Library | Launcher, stages: Stages | Callable[[], Stages]
    ) -> None:
        self._interface = interface
        self._library: Library | Launcher | None = library
        self._stages = stages
        self._arenas: list[Any] = []
        self._inputs = interface.inputs
        self._outputs = interface.outputs
        self._fast = len(self._inputs) == 1 and len(self._outputs) == 1
        self._in_shape = self._inputs[0].type.shape
        self._out_shape = self._outputs[0].type.shape
        self._run = library.run
        self._arena_room = library.arena_bytes
        self._from_buffer = FFI.from_buffer
        self._last, self._known = (0, 0), NO_PAIR
        self._arenas.append(self._new_arena())  # so that the first `run` allocates nothing either
        if interface.threads > 1 and isinstance(library, Library):
            forks.watch(self, library)

    # What it is

    @property
    def name(self) -> str:
        return self._interface.name

    @property
    def plan(self) -> AnyPlan:
        return self._made_from().plan

    @property
    def graph(self) -> Graph:
        """The optimised graph that the native code computes."""
        return self.plan.graph

    @property
    def source_graph(self) -> Graph:
        """The graph as it was read, before any pass."""
        return self._made_from().source_graph

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self._inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self._outputs)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes with the compiled batch, in the network's own layout."""
        return tuple(tensor.type.shape for tensor in self._inputs)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tensor.type.shape for tensor in self._outputs)

    @property
    def batch(self) -> int:
        """Images that one native call takes; 1 for a network that is not `batched`."""
        return self._in_shape[0] if self.batched else 1

    @property
    def batched(self) -> bool:
        """Whether the network keeps the batch, axis 0, apart from all else, so that it takes any number of images."""
        return self._interface.batched

    @property
    def isa(self) -> str:
        return self._interface.isa

    @property
    def precision(self) -> str:
        """`fp32`, or with CUDA also `tf32` or `fp16`."""
        return self._interface.precision

    @property
    def weight_storage(self) -> str:
        """The format in which large dense layers keep their weights: `fp32`, `bf16` or `fp16`."""
        return self._interface.weight_storage

    @property
    def threads(self) -> int:
        return self._interface.threads

    @property
    def arena_bytes(self) -> int:
        """Working memory of one call."""
        return self._interface.arena_bytes

    @property
    def channels_first(self) -> bool:
        """Whether images have their channels before height and width."""
        return self._interface.channels_first

    def __repr__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"<cnngen.Network {self.name}: {self.isa}, {threads}{phrase(self.weight_storage)}>"

    # Calling it

    def __call__(self, *xs: Any, **named: Array) -> Any:
        """Run on any number of images; returns the output, or a list where there are several.

        Inputs by order, or by name as keywords or in one mapping. Arrays must be float32 of the
        right shape (the batch is free, and may be missing for one image, if the network is `batched`); a
        layout in memory other than C order is copied. PyTorch tensors (and whatever else speaks DLPack) are
        read where they are; where one was given, the results are tensors. Raises `RunError` before anything runs.
        """
        if xs and named:
            raise RunError("inputs were given both by order and by name", remedy="use one of the two")
        feed = named if named else one_or_list(xs)
        if any(map(on_gpu, values_of(feed))):
            return self._call_on_gpu(feed)
        arrays, images, single = gather(self._inputs, feed, batched=self.batched)
        if self.batched:
            results = self._call_in_batches(arrays, images)
        else:
            results = [np.empty(tensor.type.shape, np.float32) for tensor in self._outputs]
            self._call(arrays, results)
        if single:
            results = [result[0] for result in results]
        if has_torch(feed):
            results = [to_torch(result) for result in results]
        return results[0] if len(results) == 1 else results

    def run(self, *xs: Any, out: Any, stream: Any = None) -> None:
        """Run the compiled batch into `out` (a list where there are several), without an allocation on the way.

        All arrays (or PyTorch tensors) are float32, aligned, C-contiguous and of exactly `input_shapes` and
        `output_shapes`; `out` is writable and overlaps no input. Raises `RunError` before anything runs.

        A network on a GPU takes arrays that lie there (`__cuda_array_interface__`), too, all of them or none. With
        a `stream` of theirs the work is queued in it and not waited for.
        """
        known_x, known_out, source, target = self._known
        if (
            known_out() is out
            and len(xs) == 1
            and known_x() is (x := xs[0])
            and stream is None
            and x.shape == self._in_shape
            and out.shape == self._out_shape
            and x.dtype is out.dtype is FLOAT32
            and out.flags.writeable
        ):  # the arrays of an earlier call, in which all that cannot have changed since was checked
            try:
                arena = self._arenas.pop()
            except IndexError:
                arena = self._new_arena()
            self._run(source, target, arena)
            self._arenas.append(arena)
            return
        if self._fast and len(xs) == 1 and isinstance(out, np.ndarray) and stream is None:
            # The common case with as little Python as possible: an array of float32 has exactly this
            # dtype object, and from_buffer refuses what is not contiguous.
            x = xs[0]
            try:
                if (
                    x.dtype is FLOAT32
                    and out.dtype is FLOAT32
                    and x.shape == self._in_shape
                    and out.shape == self._out_shape
                    and x.flags.aligned
                    and out.flags.behaved  # aligned and writable
                    and not _may_share_memory(x, out)
                ):
                    from_buffer, arenas = self._from_buffer, self._arenas
                    source, target = from_buffer(x), from_buffer(out)
                    arena = arenas.pop()
                    self._run(source, target, arena)
                    arenas.append(arena)
                    if self._last == (id(x), id(out)):
                        self._known = pair(x, out)
                    self._last = (id(x), id(out))
                    return
            except (AttributeError, ValueError, BufferError, IndexError):
                pass  # the checks below say what is wrong, or an arena is made
        given_outs = list(out) if isinstance(out, Sequence) else [out]
        if stream is not None or any(map(on_gpu, (*xs, *given_outs))):
            from cnngen.backends.cuda import calls

            calls.run(self._on_gpu(), self._inputs, self._outputs, xs, given_outs, stream)
            return
        arrays = [as_array("an input", x) for x in xs]
        outs = [as_array("out", given) for given in given_outs]
        check_arrays(self._inputs, self._outputs, arrays, outs, batched=self.batched)
        self._call(arrays, outs)

    def bind(self, *xs: Array, out: Any) -> Callable[[], None]:
        """A function without arguments that runs the compiled batch from these arrays into `out`, as `run` does.

        The arrays are checked now, not in each call, which costs Python next to nothing; their contents may change
        between calls, their shapes may not. The function has working memory of its own: one call of it at a time.
        Raises `RunError`; so does the function after `close`.
        """
        if not isinstance(self._loaded(), Library):
            raise RunError("bind is for networks on the CPU", remedy="use net.run(x, out=y, stream=stream)")
        arrays, outs = list(xs), list(out) if isinstance(out, Sequence) else [out]
        check_arrays(self._inputs, self._outputs, arrays, outs, batched=self.batched)
        pointers = [*map(self._from_buffer, (*arrays, *outs)), self._new_arena()]
        if len(pointers) > 3:
            return lambda: self._run(*pointers)
        source, target, arena = pointers
        return lambda: self._run(source, target, arena)

    # Looking inside

    def trace(self, *xs: Any) -> dict[str, Array]:
        """Every tensor of `graph` as the native code holds it for the compiled batch, by name.

        Of that batch the first image only where the plan computes one after the other (`plan.repeats`).
        """
        arrays, images, _ = gather(self._inputs, one_or_list(xs), batched=self.batched)
        if images != self.batch:
            raise RunError(f"trace takes the compiled batch of {self.batch}, not {images} images")
        arrays = self._of_plan(arrays)
        workspace = Workspace(self.plan, self._loaded(), arrays)
        with np.errstate(over="ignore"):  # what a float16 cannot hold is infinite there
            stored = [array.astype(self.plan.element).astype(np.float32) for array in arrays]
        tensors = {tensor.name: array for tensor, array in zip(self._inputs, stored, strict=True)}
        for tensor in self._inputs:
            workspace.run(tensor.name)
        for node in self.graph.nodes:
            workspace.run(node.name)
            tensors[node.name] = workspace.read(node.name)
        return tensors

    def run_layer(self, name: str, inputs: Sequence[Array], weights: Array | None = None) -> Array:
        """Run only the native steps of node `name` of `graph` on `inputs`, and return its output.

        Inputs that share memory have to agree there, see `together`. All other working memory is NaN.
        `weights` is a blob from `pack`, for other weights than the embedded ones. A node without steps
        (a plain view) is read through its view.
        """
        workspace = Workspace(self.plan, self._loaded(), weights=weights)
        for tensor, array in zip(self._node(name).inputs, inputs, strict=True):
            workspace.write(tensor, array)
        workspace.run(name)
        return workspace.read(name)

    def together(self, name: str, inputs: Sequence[Array]) -> list[Array]:
        """`inputs` of node `name` as they can be in memory at the same time.

        One may be a part of another (a slice of a concatenation, or a view of it): the first of them stands.
        """
        workspace, names = Workspace(self.plan, self._loaded()), self._node(name).inputs
        for tensor, array in reversed(list(zip(names, inputs, strict=True))):
            workspace.write(tensor, array)
        return [workspace.read(tensor) for tensor in names]

    def stepper(self, name: str) -> Callable[[], None]:
        """A function that runs only the native steps of node `name`, on zeros: for timing."""
        return Workspace(self.plan, self._loaded(), fill=0.0).stepper(self.plan.steps_of(self._node(name).name))

    def arithmetic(self, name: str) -> Arithmetic:
        """How the kernels of node `name` round; of an input, how it is stored."""
        if name not in self.input_names:
            name = self._node(name).name
        return self.plan.arithmetic(name)

    def pack(self, graph: Graph) -> Array:
        """The weights of `graph`, which has the structure of this network's, as `run_layer` takes them."""
        from cnngen.backends import pack_weights

        return pack_weights(self.plan, graph)

    def profile(self, x: Feed | None = None, *, rounds: int = 30) -> list[LayerTime]:
        """Median time of each step over `rounds` runs on `x` (default: random images).

        The steps run one after the other as in a call of the network; what it costs to call a single
        step from Python is measured in the same rounds and taken off. A GPU takes the times itself. Where images are
        computed one after the other (`plan.repeats`), the times are those of one.
        The roofline takes the figures of this machine, which are measured first if they are not known
        (docs/performance.md).
        """
        if x is None:
            rng = np.random.default_rng(0)
            x = {t.name: rng.standard_normal(t.type.shape, np.float32) for t in self._inputs}
        arrays, images, _ = gather(self._inputs, x, batched=self.batched)
        if images < self.batch:
            raise RunError(f"profile takes the compiled batch of {self.batch}, not {images} images")
        library, first = self._loaded(), self._of_plan(arrays)
        if isinstance(library, Library):
            times = Workspace(self.plan, library, first, fill=0.0).time_steps(rounds)
        else:
            times = library.time_steps(first, rounds)
        from cnngen.report.profile import layer_times

        return layer_times(self.plan, np.median(times, axis=0))

    def _of_plan(self, arrays: Sequence[Array]) -> list[Array]:
        """The first images of `arrays`, as many as the plan computes at a time."""
        return [array[: self.batch // self.plan.repeats] for array in arrays] if self.batched else list(arrays)

    # Its life

    def close(self) -> None:
        """Give the code and the working memory back. A call that is still running ends well."""
        library, self._library = self._library, None
        self._run = self._from_buffer = _closed
        self._arenas.clear()
        self._known = NO_PAIR
        forks.forget(self)
        if library is not None and not isinstance(library, Library):
            library.close()

    def use(self, library: Library) -> None:
        """Call the native code through `library` from now on; for `cnngen.forks`."""
        self._library = library
        self._run = library.run

    def __reduce__(self) -> NoReturn:
        raise RunError(
            "a Network cannot be pickled or copied: it is native code in this process",
            remedy="hand over the path of its spec and compile it there: it comes from the cache",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Inside

    def _made_from(self) -> Stages:
        if not isinstance(self._stages, Stages):
            self._stages = self._stages()
        return self._stages

    def _node(self, name: str) -> Node:
        """The node of `graph` by this name. Raises `RunError` where there is none."""
        found = next((node for node in self.graph.nodes if node.name == name), None)
        if found is None:
            raise RunError(f"the network has no layer {name!r}", remedy="names are those of Network.graph")
        return found

    def _call_in_batches(self, arrays: Sequence[Array], images: int) -> list[Array]:
        """The outputs for all images, a compiled batch at a time, the last one filled with zeros."""
        batch = self.batch
        results = [np.empty((images, *tensor.type.shape[1:]), np.float32) for tensor in self._outputs]
        for first in range(0, images - images % batch, batch):
            part = slice(first, first + batch)
            self._call([array[part] for array in arrays], [result[part] for result in results])
        if rest := images % batch:
            padded = [np.concatenate([a[-rest:], np.zeros((batch - rest, *a.shape[1:]), np.float32)]) for a in arrays]
            whole = [np.empty(tensor.type.shape, np.float32) for tensor in self._outputs]
            self._call(padded, whole)
            for result, array in zip(results, whole, strict=True):
                result[-rest:] = array[:rest]
        return results

    def _call(self, xs: Sequence[Array], outs: Sequence[Array]) -> None:
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = self._new_arena()
        pointers = [self._from_buffer(array) for array in (*xs, *outs)]
        self._run(*pointers, arena)
        self._arenas.append(arena)

    def _call_on_gpu(self, feed: Feed) -> Any:
        from cnngen.backends.cuda import calls

        results: list[Any] = list(calls.call(self._on_gpu(), self._inputs, self._outputs, feed, batched=self.batched))
        if has_torch(feed):
            results = [gpu_to_torch(result) for result in results]
        return results[0] if len(results) == 1 else results

    def _on_gpu(self) -> Launcher:
        """What runs this network on a GPU. Raises `RunError` where it runs on the CPU."""
        library = self._loaded()
        if isinstance(library, Library):
            raise RunError(
                "an array lies on a GPU, or a stream was given: the network runs on the CPU",
                remedy="copy the array to the CPU, or compile with target='cuda'",
            )
        return library

    def _loaded(self) -> Library | Launcher:
        return self._library or _closed()

    def _new_arena(self) -> Any:
        return self._from_buffer(new_arena(self._arena_room))


def _closed(*_: object, **__: object) -> NoReturn:
    raise RunError("the network is closed", remedy="compile it again")
