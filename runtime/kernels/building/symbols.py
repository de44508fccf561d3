"""What a shared library offers and which others it needs, read from the file: ELF, Mach-O or PE.

Only what libraries have that `recipe` makes is understood, little-endian and of 64 bits, so that `make wheels` needs no
tool of each platform.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Symbols:
    """The names that others can look up, and the libraries that the loader must find, each sorted."""

    exports: tuple[str, ...]
    needs: tuple[str, ...]


def read_symbols(library: Path) -> Symbols:
    """What ``library`` offers and needs.

    Raises:
        ValueError: it is of no known format.
    """
    data = library.read_bytes()
    for magic, read in ((b"\x7fELF", _elf), (b"\xcf\xfa\xed\xfe", _macho), (b"MZ", _pe)):
        if data.startswith(magic):
            exports, needs = read(data)
            return Symbols(tuple(sorted(exports)), tuple(sorted(needs)))
    raise ValueError(f"{library} is no ELF, Mach-O or PE file of 64 bits")


def read_weak(made: Path) -> set[str]:
    """The functions in an ELF object file of which the linker takes any file's: inline ones, mostly."""
    data = made.read_bytes()
    weak = set()
    for kind, offset, length, link in _sections(data):
        if kind == 2:  # SHT_SYMTAB
            for entry in range(offset, offset + length, 24):
                name, info, section = struct.unpack_from("<IBxH", data, entry)
                if section and info >> 4 == 2:  # defined here, and weak
                    weak.add(_text(data, _sections(data)[link][1] + name))
    return weak


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()


def _sections(data: bytes) -> list[tuple[int, int, int, int]]:
    """Of each section of an ELF file: type, offset, length, and the number of the section with its names."""
    at, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    return [
        (kind, offset, length, link)
        for kind, offset, length, link in (struct.unpack_from("<4xI16xQQI", data, at + i * size) for i in range(count))
    ]


def _elf(data: bytes) -> tuple[list[str], list[str]]:
    sections = _sections(data)
    exports, needs = [], []
    for kind, offset, length, link in sections:
        if kind == 11:  # SHT_DYNSYM
            for entry in range(offset, offset + length, 24):
                name, info, section = struct.unpack_from("<IBxH", data, entry)
                if section and info >> 4:  # defined here, and not local
                    exports.append(_text(data, sections[link][1] + name))
        elif kind == 6:  # SHT_DYNAMIC
            for entry in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, entry)
                if tag == 1:  # DT_NEEDED
                    needs.append(_text(data, sections[link][1] + value))
    return exports, needs


def _macho(data: bytes) -> tuple[list[str], list[str]]:
    exports: list[str] = []
    needs = []
    at = 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, at)
        if command == 0xC:  # LC_LOAD_DYLIB
            needs.append(_text(data, at + struct.unpack_from("<I", data, at + 8)[0]))
        elif command in (0x22, 0x80000022):  # LC_DYLD_INFO: the exports are a tree of the names' parts
            offset, length = struct.unpack_from("<II", data, at + 40)
            exports += _leaves(data[offset : offset + length], 0, "")
        elif command == 0x80000033:  # LC_DYLD_EXPORTS_TRIE, the same tree
            offset, length = struct.unpack_from("<II", data, at + 8)
            exports += _leaves(data[offset : offset + length], 0, "")
        at += size
    return [name.removeprefix("_") for name in exports], needs


def _leaves(tree: bytes, at: int, prefix: str) -> Iterator[str]:
    length, at = _uleb(tree, at)
    if length:
        yield prefix
    at += length
    children, at = tree[at], at + 1
    for _ in range(children):
        part = _text(tree, at)
        child, at = _uleb(tree, at + len(part) + 1)
        yield from _leaves(tree, child, prefix + part)


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _pe(data: bytes) -> tuple[list[str], list[str]]:
    header = struct.unpack_from("<I", data, 60)[0]
    count, optional = struct.unpack_from("<H12xH", data, header + 6)
    sections = [struct.unpack_from("<8xIIII", data, header + 24 + optional + 40 * i) for i in range(count)]

    def place(address: int) -> int:
        for size, start, _, offset in sections:
            if start <= address < start + size:
                return int(address - start + offset)
        raise ValueError(f"address {address:#x} lies in no section")

    export, _, imports = struct.unpack_from("<III", data, header + 24 + 112)
    names, table = struct.unpack_from("<I4xI", data, place(export) + 24)
    exports = [_text(data, place(struct.unpack_from("<I", data, place(table) + 4 * i)[0])) for i in range(names)]
    needs = []
    at = place(imports)
    while name := struct.unpack_from("<I", data, at + 12)[0]:
        needs.append(_text(data, place(name)))
        at += 20
    return exports, needs
