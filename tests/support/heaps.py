"""Counts the heaps that glibc keeps once threads have allocated; other C libraries have none to count."""

import ctypes
import threading
from pathlib import Path
from tempfile import TemporaryDirectory


def heaps() -> int:
    kept: list[bytearray] = []
    threads = [threading.Thread(target=lambda: kept.extend(bytearray(10_000) for _ in range(100))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with TemporaryDirectory() as room:
        told = Path(room) / "heaps.xml"
        _tell(told)
        return told.read_text().count("<heap nr=")


def _tell(file: Path) -> None:
    """Writes malloc_info(3) there."""
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fopen(str(file).encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
