"""What this machine has for CUDA: compiler, driver, GPUs, and the packages that call the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cnngen.backends.process import Processes
from cnngen.doctor import Check
from cnngen.errors import CnngenError, brief

PROBE_SECONDS = 60.0
PACKAGES = {
    "pycuda": ("import pycuda, pycuda.driver; print(pycuda.VERSION_TEXT)", "cuda"),
    "cuda-bindings": ("import cuda.bindings, cuda.bindings.driver; print(cuda.bindings.__version__)", "cuda-core"),
}
"""What imports each package and prints its version, and the extra that installs it."""
GPUS = """
from cnngen.backends.cuda.driver import find_driver
driver = find_driver()
driver.start()
for i in range(driver.count()):
    p = driver.properties(i)
    print(f"cuda:{i}: {p.name}, compute capability {p.capability[0]}.{p.capability[1]}, "
          f"{p.processors} multiprocessors, {p.memory / 2**30:.1f} GiB")
"""
LINK_FOLDER = Path.home() / ".local/lib/cuda-stub"
"""Where pycuda's build finds a libcuda.so if the system has none."""
LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def examine() -> list[Check]:
    """Look for everything that CUDA needs; what may crash is tried in processes of its own. Never raises."""
    return list(_checks())


def _checks() -> Iterator[Check]:
    yield _compiler()
    driver = _driver()
    yield driver
    for name, (code, extra) in PACKAGES.items():
        yield _package(name, code, extra)
    yield _gpus() if driver.status == "ok" else Check("gpus", "optional", "none can be seen without a driver")


def _compiler() -> Check:
    from cnngen.backends.cuda.compiler import find_compiler

    try:
        compiler = find_compiler()
    except CnngenError as error:
        return Check("cuda compiler", "optional", error.problem, error.remedy)
    return Check("cuda compiler", "ok", f"{compiler}; compiles for {', '.join(compiler.architectures)}")


def _driver() -> Check:
    code = (
        f"import ctypes; library = ctypes.CDLL({LIBRARY!r}); version = ctypes.c_int(); "
        "print(library.cuDriverGetVersion(ctypes.byref(version)), version.value)"
    )
    ended, said = _python(code)
    if ended and len(said.split()) == 2:
        version = int(said.split()[1])
        return Check("driver", "ok", f"{LIBRARY}, for CUDA up to {version // 1000}.{version % 1000 // 10}")
    return Check(
        "driver",
        "optional",
        f"{LIBRARY} cannot be loaded: {said}",
        "install NVIDIA's driver (nvidia-smi has to work; in a container, start it with --gpus all); "
        "without, --target cuda compiles but cannot run, and --target cuda-emulated checks the kernels",
    )


def _package(name: str, code: str, extra: str) -> Check:
    ended, said = _python(code)
    if ended:
        return Check(name, "ok", said)
    if f"No module named '{name.split('-')[0]}" in said:
        return Check(name, "optional", "not installed; calls the driver", _remedy(name, extra))
    return Check(name, "optional", f"installed, but cannot be imported: {said}", _remedy(name, extra))


def _remedy(name: str, extra: str) -> str:
    """The command that installs it. pycuda is built here, and must find the toolkit and the driver's library."""
    install = f"pip install 'cnngen[{extra}]'"
    if name != "pycuda":
        return install
    lines, commands = siteconf(), []
    if any(line.startswith("CUDADRV_LIB_DIR") for line in lines):
        # Only for the linker: when pycuda is imported, the driver's own libcuda.so.1 takes its place.
        link = f"cc -shared -x c - -Wl,-soname,libcuda.so.1 -o {LINK_FOLDER}/libcuda.so"
        commands.append(f"mkdir -p {LINK_FOLDER} && echo | {link}")
    if lines:
        quoted = " ".join(f"'{line}'" for line in lines)
        commands.append(f"printf '%s\\n' {quoted} > ~/.aksetup-defaults.py")
    return " && ".join([*commands, install])


def siteconf() -> list[str]:
    """What pycuda's build has to be told on this machine; nothing where it finds everything itself."""
    import shutil

    from cnngen.backends.cuda.compiler import TOOLKIT_VARIABLES, USUAL_TOOLKIT

    found = shutil.which("nvcc")
    guess = Path(os.path.normpath(Path(found).parent / "..")) if found else None
    named = [Path(folder) for name in TOOLKIT_VARIABLES if (folder := os.environ.get(name))]
    roots = [root for root in (guess, *named, USUAL_TOOLKIT) if root and (root / "include/cuda.h").is_file()]
    if not roots:
        return []
    root, lines = roots[0], []
    if root != guess:  # pycuda takes the folder above the nvcc on the PATH, which may be a wrapper
        lines.append(f'CUDA_ROOT = "{root}"')
    if not (root / "include/curand.h").is_file():
        lines.append("CUDA_ENABLE_CURAND = False")
    usual = [root / "lib64/stubs", root / "lib/stubs", root / "lib64", root / "lib", Path("/usr/lib/x86_64-linux-gnu")]
    if not any((folder / "libcuda.so").exists() for folder in usual):
        lines.append(f'CUDADRV_LIB_DIR = ["{LINK_FOLDER}"]')
    return lines


def _gpus() -> Check:
    if not any(_python(code)[0] for code, _ in PACKAGES.values()):
        return Check("gpus", "optional", "no package here calls the driver", "pip install 'cnngen[cuda-core]'")
    ended, said = _python(GPUS)
    if ended and said:
        return Check("gpus", "ok", said)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    remedy = "check nvidia-smi" if visible is None else f"CUDA_VISIBLE_DEVICES is {brief(visible)!r}: unset it"
    return Check("gpus", "optional", said or "none was found", remedy)


def _python(code: str) -> tuple[bool, str]:
    """Whether `code` ends well in a process of its own, and its output, or the last line of it where it failed."""
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        finished = Processes(seconds=PROBE_SECONDS, env={**os.environ, "PYTHONPATH": paths}).run(
            (sys.executable, "-c", code)
        )
    except OSError as error:
        return False, error.strerror or str(error)
    lines = finished.output.strip().splitlines()
    if finished.ok:
        return True, finished.output.strip()
    return False, lines[-1] if lines and finished.code > 0 else finished.ending
