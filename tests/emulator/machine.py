"""A PC in the Bochs emulator that boots Linux from a CD, runs programs and prints to its serial port."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import threading
import tty
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KERNEL_OPTIONS = (
    "console=ttyS0 rdinit=/init panic=1 quiet loglevel=1 nokaslr mitigations=off random.trust_cpu=on "
    # one core with legacy interrupts boots fastest
    "nosmp noapic tsc=reliable no_timer_check lpj=1000000 "
    # Bochs reports a wrong size for compacted register state, upon which Linux would disable AVX
    "noxsaves clearcpuid=xsavec,xsaves"
)

CONFIGURATION = """\
config_interface: textconfig
display_library: term
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=0, parallel=0, e1000=0
memory: guest={memory}, host={memory}
romimage: file={bochs}/BIOS-bochs-latest
vgaromimage: file={bochs}/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={folder}/boot.iso, status=inserted
boot: cdrom
log: {folder}/bochs.log
cpu: model={cpu}, count=1, ips=50000000, reset_on_triple_fault=0
clock: sync=none
com1: enabled=1, mode=file, dev={folder}/serial.txt
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""

BOOT_MENU = """\
DEFAULT linux
PROMPT 0
LABEL linux
 KERNEL /vmlinuz
 INITRD /initrd
 APPEND {options}
"""


@dataclass(frozen=True)
class Machine:
    """An emulated PC. `cpu` is a CPU model of Bochs, `memory` in MiB.

    `root` is where the files of the packages lie that it boots with (a Linux kernel, isolinux,
    syslinux' modules): `/`, or a folder that they were unpacked to.
    """

    cpu: str
    memory: int = 1024
    root: Path = Path("/")
    bochs_files: Path = Path("/usr/share/bochs")

    def run(self, folder: Path, init: Path, programs: Mapping[str, Path], *, timeout: float) -> str:
        """Boot with `init` as the first process and `programs` listed in /list; the text of the serial port.

        `folder` gets everything that belongs to the machine. Raises `subprocess.TimeoutExpired`.
        """
        disc = folder / "disc"
        (disc / "isolinux").mkdir(parents=True)
        kernel = max((self.root / "boot").glob("vmlinuz-*"))
        modules = self.root / "usr/lib/syslinux/modules/bios"
        shutil.copy(kernel, disc / "vmlinuz")
        shutil.copy(self.root / "usr/lib/ISOLINUX/isolinux.bin", disc / "isolinux")
        shutil.copy(modules / "ldlinux.c32", disc / "isolinux")
        (disc / "isolinux/isolinux.cfg").write_text(BOOT_MENU.format(options=KERNEL_OPTIONS))
        files = {"init": init.read_bytes(), "list": "".join(f"/programs/{name}\n" for name in programs).encode()}
        files |= {f"programs/{name}": path.read_bytes() for name, path in programs.items()}
        (disc / "initrd").write_bytes(cpio(("proc", "dev", "programs"), files))
        make = "xorriso -as mkisofs -quiet -o boot.iso -b isolinux/isolinux.bin -c isolinux/boot.cat"
        make += " -no-emul-boot -boot-load-size 4 -boot-info-table disc"
        subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
        text = CONFIGURATION.format(memory=self.memory, bochs=self.bochs_files, folder=folder.absolute(), cpu=self.cpu)
        (folder / "bochsrc").write_text(text)
        command = ["bochs", "-q", "-f", "bochsrc"]
        if has_debugger():
            (folder / "debugger").write_text("continue\n")
            command += ["-rc", "debugger"]
        run_in_terminal(command, folder, timeout)
        return (folder / "serial.txt").read_text(errors="replace").replace("\r", "")


def has_debugger() -> bool:
    """Whether this Bochs was built with its debugger, which waits for a command before it starts."""
    done = subprocess.run(["bochs", "--help"], capture_output=True, text=True, check=False)
    return "-rc" in done.stdout + done.stderr


def run_in_terminal(command: Sequence[str], folder: Path, timeout: float) -> None:
    """Run Bochs, which insists on a terminal, and drop what it draws."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    environment = os.environ | {"TERM": "linux"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    threading.Thread(target=drop, args=(control,), daemon=True).start()
    try:
        process.wait(timeout)
    finally:
        process.kill()
        process.wait()


def drop(terminal: int) -> None:
    """Read a terminal until it closes, and also the one that Bochs may draw the guest's screen on.

    Nobody else reads that one, and once its buffer is full the emulator stands still.
    """
    seen = b""
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            seen = (seen + data)[-4096:]
            if screen := re.search(rb'connected to screen "(/dev/[\w/]+)"', seen):
                seen = b""
                second = os.open(screen[1], os.O_RDONLY | os.O_NOCTTY)
                tty.setraw(second)
                threading.Thread(target=drop, args=(second,), daemon=True).start()
    os.close(terminal)


def cpio(folders: Sequence[str], files: Mapping[str, bytes]) -> bytes:
    """An archive as Linux wants its initial file system: "newc", see its Documentation/driver-api/early-userspace."""
    parts = []
    entries = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return b"".join(parts)
