"""What a compiled kernel says of itself: the sizes of its parameters, and how many threads its blocks may have."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

_PARAMETER, _MAX_THREADS = 0x17, 0x05  # EIATTR_KPARAM_INFO, EIATTR_MAX_THREADS
_RESERVED = 1024
"""Bytes of shared memory that the system keeps for itself in every block, counted where this section is there."""
_RESERVED_SECTION = ".nv.shared.reserved.0"
_WITH_SIZE = 0x04  # EIFMT_SVAL: the attribute's value is preceded by its size


@dataclass
class Kernel:
    name: str
    parameters: tuple[int, ...]
    """Their sizes in bytes, in order."""
    max_threads: int
    """Of a block: the launch bound."""
    static_shared: int = 0
    """Bytes of shared memory that a block has without asking."""


class _Section(NamedTuple):
    name: str
    offset: int
    size: int


def kernels(cubin: bytes) -> dict[str, Kernel]:
    """All kernels of an ELF image as NVRTC makes it."""
    sections = _sections(cubin)
    found = {}
    for section in sections:
        if section.name.startswith(".nv.info."):
            name = section.name.removeprefix(".nv.info.")
            found[name] = _kernel(name, cubin[section.offset : section.offset + section.size])
    reserved = _RESERVED * any(section.name == _RESERVED_SECTION for section in sections)
    for section in sections:
        name = section.name.removeprefix(".nv.shared.")
        if name != section.name and name in found:
            found[name].static_shared = section.size - reserved
    return found


def _sections(elf: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * entry_size) for i in range(count)]
    names = headers[names_index][4]

    def name(offset: int) -> str:
        start = names + offset
        return elf[start : elf.index(b"\0", start)].decode()

    return [_Section(name(offset), start, size) for offset, _, _, _, start, size in headers]


def _kernel(name: str, attributes: bytes) -> Kernel:
    sizes: dict[int, int] = {}
    max_threads, at = 1024, 0
    while at < len(attributes):
        form, attribute, size = struct.unpack_from("<BBH", attributes, at)
        at += 4
        if form != _WITH_SIZE:  # the value is what was read as its size
            continue
        if attribute == _PARAMETER:
            _, ordinal, _, flags = struct.unpack_from("<IHHI", attributes, at)
            sizes[ordinal] = flags >> 18
        elif attribute == _MAX_THREADS:
            x, y, z = struct.unpack_from("<III", attributes, at)
            max_threads = x * y * z
        at += size
    return Kernel(name, tuple(sizes[i] for i in sorted(sizes)), max_threads)
