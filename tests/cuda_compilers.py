"""False compilers for CUDA: an nvcc that is a script, and a libnvrtc of a few lines of C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from cnngen.backends.cuda import fatbin
from cnngen.backends.sources import SourceTree
from tests.source_trees import script

ELF = b"\x7fELF\x02\x01\x01A\x08" + bytes(55)
PTX = b".version 9.0\n.target sm_90\n.address_size 64\n"
REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'conv' for 'sm_80'
ptxas info    : Function properties for conv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 16 bytes smem
ptxas info    : Compiling entry function 'conv' for 'sm_90'
ptxas info    : Function properties for conv
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 512 bytes cmem[0]
ptxas info    : Compiling entry function 'pool' for 'sm_90'
ptxas info    : Function properties for pool
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 0 barriers
"""

NVRTC = r"""
#include <stdlib.h>
#include <string.h>
struct program { char *source; const char *architecture; int failed; };
static char log_text[4096];
int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = 4; return 0; }
int nvrtcGetNumSupportedArchs(int *count) { *count = 2; return 0; }
int nvrtcGetSupportedArchs(int *found) { found[0] = 80; found[1] = 90; return 0; }
const char *nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_OTHER"; }
int nvrtcCreateProgram(struct program **p, const char *s, const char *n, int c, const char **h, const char **i)
{
    *p = calloc(1, sizeof **p);
    (*p)->source = strdup(s);
    return 0;
}
int nvrtcDestroyProgram(struct program **p) { free((*p)->source); free(*p); return 0; }
int nvrtcCompileProgram(struct program *p, int count, const char **options)
{
    p->architecture = strchr(options[0], '=') + 1;
    if (strstr(p->source, "#crash")) abort();
    if (strstr(p->source, "#error")) { strcpy(log_text, "adder.cu(1): error: broken"); return p->failed = 6; }
    if (strstr(p->source, "#pragma")) strcpy(log_text, "adder.cu(1): warning #1: odd");
    else { strcpy(log_text, "ptxas info    : Compiling entry function 'conv' for '"); strcat(log_text, p->architecture);
           strcat(log_text, "'\nptxas info    : Used 40 registers, used 1 barriers\n"); }
    return 0;
}
int nvrtcGetProgramLogSize(struct program *p, size_t *size) { *size = strlen(log_text) + 1; return 0; }
int nvrtcGetProgramLog(struct program *p, char *to) { strcpy(to, log_text); return 0; }
int nvrtcGetCUBINSize(struct program *p, size_t *size) { *size = 64; return 0; }
int nvrtcGetCUBIN(struct program *p, char *to) { memset(to, 0, 64); memcpy(to, "\177ELF\2\1\1A\10", 9); return 0; }
int nvrtcGetPTXSize(struct program *p, size_t *size) { *size = 14; return 0; }
int nvrtcGetPTX(struct program *p, char *to) { memcpy(to, ".version 8.4\n", 14); return 0; }
"""


def tree(name: str = "adder", architectures: tuple[str, ...] = ("sm_80", "sm_90"), text: str = "") -> SourceTree:
    """What a backend emits for a GPU, as far as the toolchain cares."""
    return SourceTree(
        name,
        {f"{name}.cu": text or "// kernels\n", f"{name}_launches.json": "[]\n"},
        {f"{name}_weights.bin": np.arange(3, dtype=np.float32)},
        (f"{name}.cu",),
        (),
        standard="c++17",
        architectures=architectures,
    )


def image(architectures: tuple[int, ...] = (80, 90)) -> bytes:
    """A fatbin that holds nothing, for these architectures."""
    return fatbin.write([*(fatbin.Code("cubin", number, ELF) for number in architectures), fatbin.Code("ptx", 90, PTX)])


def nvcc(path: Path, body: str = "", *, made: bytes | None = None, release: str = "13.0, V13.0.88") -> Path:
    """A script that answers questions like nvcc, and for anything else runs `body` with the output file as `$out`.

    Without a body it makes `made` (default: a good fatbin) and says what ptxas says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    product, said = path.with_suffix(".made"), path.with_suffix(".said")
    product.write_bytes(image() if made is None else made)
    said.write_text(REPORT)
    body = body or f'cat "{said}"; cp "{product}" "$out"'
    return script(
        path,
        f"""case "$*" in
*--version*) echo "Cuda compilation tools, release {release}"; exit;;
*--list-gpu-arch*) printf 'compute_75\\ncompute_80\\ncompute_90\\n'; exit;;
*--dryrun*) echo '#$ TOP={path.parent}/toolkit/bin/..'; exit;;
esac
for out; do :; done
{body}""",
    )


def nvrtc(folder: Path) -> Path:
    """A library with the functions of NVRTC, and the one that it opens by name beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvrtc.c").write_text(NVRTC)
    path = folder / "libnvrtc.so.12"
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", path, folder / "nvrtc.c"], check=True)
    return path
