"""Faults in weight files, by number, for both formats."""

from __future__ import annotations

import io
import json
import math
import os
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnngen
from cnngen.errors import SpecError, WeightsError, WeightsWarning
from cnngen.frontends import files, load
from tests.specs import write

SPEC = """\
cnngen: 1
input: {{shape: [6, 6, 3]}}
weights: {{file: {file}, format: {format}{options}}}
layers:
  - conv2d: {{name: c, filters: 4, kernel: [3, 2]}}
  - batch_norm: {{name: b, epsilon: {epsilon}}}
  - flatten
  - dense: {{name: d, units: 5}}
"""
Arrays = dict[str, np.ndarray]
Save = Callable[[Path, Arrays], None]


def good() -> Arrays:
    """Fitting weights in Keras's layout."""
    rng = np.random.default_rng(1)
    shapes = {"c.weight": (3, 2, 3, 4), "c.bias": (4,), "d.weight": (80, 5), "d.bias": (5,)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {f"b.{role}": rng.uniform(0.5, 1.5, 4).astype(np.float32) for role in ("gamma", "beta", "mean")}
    return arrays | {"b.variance": rng.uniform(0.5, 1.5, 4).astype(np.float32)}


def spec(folder: Path, file: str, *, source: str = "keras", options: str = "", epsilon: str = "0.001") -> Path:
    return write(folder, SPEC.format(file=file, format=source, options=options, epsilon=epsilon))


def save_npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)


def save_safetensors(path: Path, arrays: Arrays) -> None:
    save_file(arrays, path)


FORMATS: dict[str, Save] = {"w.npz": save_npz, "w.safetensors": save_safetensors}


@pytest.fixture(params=list(FORMATS))
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(
    folder: Path, file: str, *fragments: str, options: str = "", epsilon: str = "0.001", source: str = "keras"
) -> WeightsError:
    path = spec(folder, file, options=options, epsilon=epsilon, source=source)
    with pytest.raises(WeightsError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{folder / file}: "), message
    for fragment in fragments:
        assert fragment in message, message
    return caught.value


def test_weights_that_fit(tmp_path: Path, file: str) -> None:
    arrays = good()
    FORMATS[file](tmp_path / file, arrays)
    graph = load(spec(tmp_path, file))
    for name, array in arrays.items():
        node, role = name.split(".")
        loaded = graph.node(node).weights[role]
        np.testing.assert_array_equal(loaded, array)
        assert loaded.dtype == np.float32
        assert loaded.flags.c_contiguous
        assert not loaded.flags.writeable


def test_case_33_missing_and_extra_tensors_all_at_once(tmp_path: Path, file: str) -> None:
    arrays = good()
    arrays["c.kernel"] = arrays.pop("c.weight")
    arrays["d.biases"] = arrays.pop("d.bias")
    FORMATS[file](tmp_path / file, arrays)
    refusal(
        tmp_path, file, "4 tensors do not fit", "c.weight: missing, expected (3, 2, 3, 4)", "d.bias: missing",
        "(the file has d.biases)", "c.kernel: extra", "d.biases: extra", "name the tensors <layer>.<role>",
    )  # fmt: skip


def test_case_33_many_extra_tensors_are_cut(tmp_path: Path, file: str) -> None:
    arrays = good() | {f"x{n}": np.zeros(1, np.float32) for n in range(500)}
    FORMATS[file](tmp_path / file, arrays)
    error = refusal(tmp_path, file, "500 tensors do not fit", "and 480 more")
    assert len(str(error)) < 3000


def test_case_34_wrong_shapes_all_at_once(tmp_path: Path, file: str) -> None:
    arrays = good() | {"c.bias": np.zeros(3, np.float32), "d.weight": np.zeros((81, 5), np.float32)}
    FORMATS[file](tmp_path / file, arrays)
    refusal(
        tmp_path, file, "2 tensors", "c.bias: has shape (3,), expected (4,)", "d.weight: has shape (81, 5), expected"
    )


def test_case_34_layout_of_the_other_format(tmp_path: Path, file: str) -> None:
    FORMATS[file](tmp_path / file, good())
    refusal(
        tmp_path, file, "c.weight: has shape (3, 2, 3, 4), expected (4, 3, 3, 2)", "d.weight: has shape (80, 5)",
        "this is the layout of keras", "write `format: keras`", source="torch",
    )  # fmt: skip
    arrays = good()
    arrays |= {"c.weight": np.zeros((4, 3, 3, 2), np.float32), "d.weight": np.zeros((5, 80), np.float32)}
    FORMATS[file](tmp_path / file, arrays)
    refusal(tmp_path, file, "2 tensors", "this is the layout of torch", "write `format: torch`")


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_case_34_other_float_types_only_when_asked_for(tmp_path: Path, file: str, dtype: type) -> None:
    arrays = good()
    arrays["d.weight"] = arrays["d.weight"].astype(dtype)
    FORMATS[file](tmp_path / file, arrays)
    refusal(tmp_path, file, f"d.weight: is {np.dtype(dtype).name}, expected float32", "write `convert: true`")
    graph = load(spec(tmp_path, file, options=", convert: true"))
    np.testing.assert_array_equal(graph.node("d").weights["weight"], arrays["d.weight"].astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_])
def test_case_34_integers_are_never_converted(tmp_path: Path, file: str, dtype: type) -> None:
    arrays = good() | {"c.bias": np.ones(4, dtype)}
    FORMATS[file](tmp_path / file, arrays)
    refusal(tmp_path, file, f"c.bias: is {np.dtype(dtype).name}, expected float32", options=", convert: true")


def test_case_34_bfloat16(tmp_path: Path) -> None:
    arrays = good()
    values = np.array([1.0, -2.5, 0.15625, 3.0], np.float32)
    codes = (values.view(np.uint32) >> 16).astype("<u2")
    assert np.array_equal((codes.astype(np.uint32) << 16).view(np.float32), values)
    raw = {name: ("F32", array.shape, array.tobytes()) for name, array in arrays.items()}
    raw["c.bias"] = ("BF16", (4,), codes.tobytes())
    (tmp_path / "w.safetensors").write_bytes(safetensors(raw))
    refusal(tmp_path, "w.safetensors", "c.bias: is bfloat16, expected float32", "write `convert: true`")
    graph = load(spec(tmp_path, "w.safetensors", options=", convert: true"))
    np.testing.assert_array_equal(graph.node("c").weights["bias"], values)


def test_case_35_big_endian_and_fortran_order(tmp_path: Path) -> None:
    arrays = good()
    odd = {name: np.asfortranarray(array.astype(">f4")) for name, array in arrays.items()}
    save_npz(tmp_path / "w.npz", odd)
    graph = load(spec(tmp_path, "w.npz"))
    for name, array in arrays.items():
        node, role = name.split(".")
        loaded = graph.node(node).weights[role]
        np.testing.assert_array_equal(loaded, array)
        assert loaded.dtype == np.dtype("=f4")
        assert loaded.flags.c_contiguous


@pytest.mark.parametrize("pickled", [[print], np.float32(1), {"a": 1}])
def test_case_36_object_array(tmp_path: Path, pickled: object) -> None:
    arrays = good() | {"c.bias": np.array([pickled] * 4, dtype=object)}
    np.savez(tmp_path / "w.npz", **arrays)
    refusal(tmp_path, "w.npz", "c.bias", "array of Python objects, which is a pickle", "save float32 arrays")


def test_case_37_truncated_at_every_length(tmp_path: Path, file: str) -> None:
    FORMATS[file](tmp_path / file, good())
    data = (tmp_path / file).read_bytes()
    for length in [*range(0, len(data), 41), len(data) - 1]:
        (tmp_path / file).write_bytes(data[:length])
        refusal(tmp_path, file, "truncated" if file.endswith("safetensors") else "")


def safetensors(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], **changes: object) -> bytes:
    """A safetensors file of raw tensors; `changes` replace header entries."""
    header: dict[str, object] = {}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header | changes).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[object], begin: int = 0, end: int = 16, dtype: str = "F32", **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


HEADERS = {
    "10^12 elements": ({"c": entry([10**12])}, "is 4,000,000,000,000 bytes, offsets give 16"),
    "a negative size": ({"c": entry([-4, -1])}, "[-4, -1] is no shape"),
    "an overflow": ({"c": entry([2**62, 4])}, "offsets give 16"),
    "a size of true": ({"c": entry([True, 4])}, "is no shape"),
    "a fractional size": ({"c": entry([4.0])}, "is no shape"),
    "a million dimensions": ({"c": entry([1] * 1000, 0, 4)}, "is no shape"),
    "offsets the wrong way round": ({"c": entry([4], 16, 0)}, "offsets give -16"),
    "data beyond the end": ({"c": entry([8], 0, 32)}, "truncated: the tensors need 32 bytes, 16 are there"),
    "an overlap": ({"a": entry([4]), "b": entry([2], 8, 16)}, "overlaps the tensor before it"),
    "a gap": ({"a": entry([1], 0, 4), "b": entry([2], 8, 16)}, "leaves a gap before it"),
    "a gap at the front": ({"a": entry([2], 8, 16)}, "leaves a gap before it"),
    "bytes of nobody": ({"a": entry([2], 0, 8)}, "8 bytes that belong to no tensor"),
    "an unknown type": ({"a": entry([4], dtype="F4")}, "the type F4 is unknown"),
    "an unknown key": ({"a": entry([4], more=1)}, "not dtype, shape and data_offsets"),
    "a text as entry": ({"a": "x"}, "not dtype, shape and data_offsets"),
}
LAYOUT = ("an overlap", "a gap", "a gap at the front", "bytes of nobody", "data beyond the end")


@pytest.mark.parametrize("case", [name for name in HEADERS if name not in LAYOUT])
def test_case_38_safetensors_shapes(tmp_path: Path, case: str) -> None:
    refused_header(tmp_path, case)


@pytest.mark.parametrize("case", LAYOUT)
def test_case_42_safetensors_layout_of_the_data(tmp_path: Path, case: str) -> None:
    refused_header(tmp_path, case)


def refused_header(tmp_path: Path, case: str) -> None:
    header, fragment = HEADERS[case]
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    refusal(tmp_path, "w.safetensors", fragment)


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", "truncated"),
        (struct.pack("<Q", 2**63) + b"{}", "a header of 9,223,372,036,854,775,808 bytes"),
        (struct.pack("<Q", 100) + b"{}", "truncated: the header needs 100 bytes"),
        (struct.pack("<Q", 2) + b"[]", "no JSON object"),
        (struct.pack("<Q", 4) + b"\xff\xff\xff\xff", "no JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "no JSON"),
        (struct.pack("<Q", 17) + b'{"a": 1, "a": 2} ', "names the tensor 'a' twice"),
        (struct.pack("<Q", 10_006) + b'{"a":' + b"9" * 10_000 + b"}", "no JSON"),
    ],
)
def test_case_42_safetensors_headers_that_are_none(tmp_path: Path, data: bytes, fragment: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(data)
    refusal(tmp_path, "w.safetensors", fragment)


def npy(shape: str, data: bytes = bytes(16), descr: str = "<f4") -> bytes:
    """A .npy file with any text as its shape."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(path: Path, *members: tuple[str, bytes]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in members:
            zip_file.writestr(name, data)


@pytest.mark.parametrize(
    ("shape", "fragment"),
    [("(1000000000000,)", "needs 4,000,000,000,128 bytes"), ("(-4,)", "(-4,) is no shape"),
     ("(4611686018427387904, 4)", "needs"), ("(True,)", "needs 132 bytes"), ("4", "no valid array header"),
     ("(4,", "no valid array header"), ("('x',)", "no valid array header"), ("(" * 5000, "no valid array header"),
     ("(5,)", "needs 148 bytes, the archive has 144")],
)  # fmt: skip
def test_case_38_npz_headers(tmp_path: Path, shape: str, fragment: str) -> None:
    archive(tmp_path / "w.npz", ("c.npy", npy(shape)))
    refusal(tmp_path, "w.npz", fragment)


def test_case_39_npz_bomb(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    np.save(bomb, np.zeros(50_000_000, np.float32))
    arrays = [(f"{name}.npy", npy(str(array.shape), array.tobytes())) for name, array in good().items()]
    arrays[0] = ("c.weight.npy", bomb.getvalue())
    archive(tmp_path / "w.npz", *arrays)
    assert (tmp_path / "w.npz").stat().st_size < 300_000
    path = spec(tmp_path, "w.npz")
    tracemalloc.start()
    with pytest.raises(WeightsError, match=r"c\.weight: has shape \(50000000,\), expected \(3, 2, 3, 4\)"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_case_39_declared_size_is_a_lie(tmp_path: Path) -> None:
    save_npz(tmp_path / "w.npz", good())
    data = bytearray((tmp_path / "w.npz").read_bytes())
    # The uncompressed size of the first member, 24 bytes into its central directory entry.
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 2**31)
    (tmp_path / "w.npz").write_bytes(data)
    refusal(tmp_path, "w.npz", "the archive has 2,147,483,648")


def test_case_40_duplicate_and_traversing_members(tmp_path: Path) -> None:
    archive(tmp_path / "w.npz", ("c.npy", npy("(4,)")), ("c.npy", npy("(4,)")))
    refusal(tmp_path, "w.npz", "names the tensor 'c' twice")
    for name in ("../c.npy", "/c.npy", "a/../../c.npy", "..\\c.npy"):
        archive(tmp_path / "w.npz", (name, npy("(4,)")))
        refusal(tmp_path, "w.npz", "a path that leads outside")
    archive(tmp_path / "w.npz", ("c.txt", b"x"))
    refusal(tmp_path, "w.npz", "no .npy array", "numpy.savez")


def test_case_41_bad_crc(tmp_path: Path) -> None:
    arrays = good()
    save_npz(tmp_path / "w.npz", arrays)
    data = bytearray((tmp_path / "w.npz").read_bytes())
    at = data.index(arrays["d.weight"].tobytes()[:64])
    data[at + 100] ^= 1
    (tmp_path / "w.npz").write_bytes(data)
    refusal(tmp_path, "w.npz", "d.weight.npy: is damaged", "CRC")


def test_case_41_any_flipped_bit_is_harmless(tmp_path: Path, file: str) -> None:
    """No damage leads to anything but a `WeightsError`, or to weights of the right shapes."""
    FORMATS[file](tmp_path / file, good())
    data = (tmp_path / file).read_bytes()
    path = spec(tmp_path, file)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        (tmp_path / file).write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", WeightsWarning)
                graph = load(path)
        except WeightsError:
            continue
        assert graph.node("c").weights["weight"].shape == (3, 2, 3, 4)


@pytest.mark.parametrize(
    ("suffix", "remedy"),
    [(".pt", "safetensors.torch.save_file"), (".pth", "safetensors.torch.save_file"), (".pkl", "save_file"),
     (".h5", "np.savez"), (".keras", "np.savez"), (".txt", "give .safetensors or .npz"), ("", ".safetensors or .npz")],
)  # fmt: skip
def test_case_43_pickles_and_other_files(tmp_path: Path, suffix: str, remedy: str) -> None:
    (tmp_path / f"w{suffix}").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    refusal(tmp_path, f"w{suffix}", remedy)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_case_44_nan_and_infinity(tmp_path: Path, file: str, value: float) -> None:
    arrays = good()
    arrays["d.weight"][3, 2] = arrays["c.bias"][1] = arrays["c.bias"][2] = value
    FORMATS[file](tmp_path / file, arrays)
    with pytest.warns(WeightsWarning, match=r"NaN or infinity in c\.bias \(2\), d\.weight \(1\)"):
        graph = load(spec(tmp_path, file))
    np.testing.assert_array_equal(graph.node("c").weights["bias"], arrays["c.bias"])
    refusal(tmp_path, file, "NaN or infinity in c.bias (2)", "do without strict", options=", strict: true")


def test_case_44_strict_of_the_caller_holds_for_a_warm_start_too(tmp_path: Path, file: str) -> None:
    arrays = good()
    arrays["d.weight"][3, 2] = math.nan
    FORMATS[file](tmp_path / file, arrays)
    path = spec(tmp_path, file)
    for _ in range(2):  # compiled, then from the cache
        with pytest.warns(WeightsWarning, match=r"NaN or infinity in d\.weight \(1\)"):
            cnngen.compile(path, threads=1).close()
        with pytest.raises(WeightsError, match=r"NaN or infinity in d\.weight \(1\); .*do without strict"):
            cnngen.compile(path, threads=1, strict=True)
    arrays["d.weight"][3, 2] = 1
    FORMATS[file](tmp_path / file, arrays)
    cnngen.compile(path, threads=1, strict=True).close()
    cnngen.compile(path, threads=1, strict=True).close()


def test_case_44_a_conversion_that_overflows(tmp_path: Path) -> None:
    arrays = good()
    arrays["c.bias"] = np.array([1, 1e300, 1, 1])
    save_npz(tmp_path / "w.npz", arrays)
    refusal(tmp_path, "w.npz", "NaN or infinity in c.bias (1)", options=", strict: true, convert: true")


def test_case_45_variance(tmp_path: Path, file: str) -> None:
    arrays = good()
    arrays["b.variance"][2] = -1e-3
    FORMATS[file](tmp_path / file, arrays)
    error = refusal(tmp_path, file, "the variance -0.001 is negative", "exported")
    assert error.layer == "b"
    arrays["b.variance"][2] = 0
    FORMATS[file](tmp_path / file, arrays)
    assert refusal(tmp_path, file, "variance is 0 and epsilon is 0", epsilon="0").layer == "b"
    load(spec(tmp_path, file))


def test_case_45_nan_variance_hides_no_negative_one(tmp_path: Path) -> None:
    arrays = good()
    arrays["b.variance"][:2] = [math.nan, -1]
    save_npz(tmp_path / "w.npz", arrays)
    with pytest.warns(WeightsWarning):
        refusal(tmp_path, "w.npz", "the variance -1 is negative")


def test_case_46_denormals(tmp_path: Path, file: str) -> None:
    arrays = good() | {"c.bias": np.array([1e-45, -1e-40, 1.1754942e-38, 0], np.float32)}
    FORMATS[file](tmp_path / file, arrays)
    assert load(spec(tmp_path, file)).node("c").weights["bias"].tobytes() == arrays["c.bias"].tobytes()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "nothing"])
def test_case_47_no_regular_file(tmp_path: Path, file: str, kind: str) -> None:
    path = tmp_path / file
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
    where = spec(tmp_path, file)
    with pytest.raises((WeightsError, SpecError)) as caught:
        load(where)
    assert str(caught.value).startswith(f"{where}:3: ")
    if kind != "device":  # refused as a link already
        assert isinstance(caught.value, WeightsError)
    with pytest.raises(WeightsError, match=r"is a |does not exist"):
        load(where, weights=path)


def test_case_48_changed_while_it_is_read(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMATS[file](tmp_path / file, good())
    path = spec(tmp_path, file)
    real, calls = os.fstat, []

    def fstat(descriptor: int) -> os.stat_result:
        calls.append(descriptor)
        if len(calls) == 4:  # the second look at the weights, after two at the spec
            with (tmp_path / file).open("ab") as other:
                other.write(b"x")
        return real(descriptor)

    monkeypatch.setattr(files.os, "fstat", fstat)
    with pytest.raises(WeightsError, match=r"was changed while it was read; try again"):
        load(path)


def test_case_48_replaced_while_it_is_read(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another takes the place of is read to its end: one handle, no mixture."""
    FORMATS[file](tmp_path / file, good())
    path, real, replaced = spec(tmp_path, file), os.fstat, []

    def fstat(descriptor: int) -> os.stat_result:
        result = real(descriptor)
        if not replaced and Path(f"/proc/self/fd/{descriptor}").resolve() == (tmp_path / file).resolve():
            other = {name: array + 1 for name, array in good().items()}
            FORMATS[file](tmp_path / f"new-{file}", other)
            replaced.append((tmp_path / f"new-{file}").replace(tmp_path / file))
        return result

    monkeypatch.setattr(files.os, "fstat", fstat)
    try:
        graph = load(path)
    except WeightsError as error:  # its number of links has changed, and with it the time of change
        assert "was changed while it was read" in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(graph.node("c").weights["bias"], good()["c.bias"])
    assert replaced
    np.testing.assert_array_equal(load(path).node("c").weights["bias"], good()["c.bias"] + 1)


def test_case_48_times_that_are_set_back(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same size and the same time of writing: the time of change of the file's status tells."""
    FORMATS[file](tmp_path / file, good())
    path, real, changed = spec(tmp_path, file), os.fstat, []

    def fstat(descriptor: int) -> os.stat_result:
        result = real(descriptor)
        target = tmp_path / file
        if not changed and Path(f"/proc/self/fd/{descriptor}").resolve() == target.resolve():
            changed.append(True)
            with target.open("r+b") as other:
                other.seek(-1, 2)
                other.write(b"\x01")
            os.utime(target, ns=(result.st_atime_ns, result.st_mtime_ns))
        return result

    monkeypatch.setattr(files.os, "fstat", fstat)
    with pytest.raises(WeightsError, match=r"was changed while it was read; try again"):
        load(path)


def test_weights_of_the_caller_may_lie_anywhere(tmp_path: Path, file: str) -> None:
    (tmp_path / "specs").mkdir()
    path = spec(tmp_path / "specs", "missing.npz")
    arrays = good()
    FORMATS[file](tmp_path / file, arrays)
    graph = load(path, weights=tmp_path / file)
    np.testing.assert_array_equal(graph.node("d").weights["weight"], arrays["d.weight"])
    with pytest.raises(WeightsError, match=r"net\.yaml:3: .*missing\.npz does not exist"):
        load(path)
