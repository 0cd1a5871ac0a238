"""
The Block's binary primitives, written and read.

Integers are little-endian and of fixed width; strings and bytes are a u64 length and the raw octets; a list is a
u64 count and its items; a struct is a u64 field count and then, for each field, its name as a string followed by
its value. The reader is strict and bounded: it never allocates more than the input holds.
"""

from __future__ import annotations

import struct
from typing import Final

from treasuryd.errors import Rejected

U64_MAX: Final = 2**64 - 1
MAX_TRANSACTION_BYTES: Final = 512 * 1024  # as hex this is the node's whole request body (1 MiB)
MAX_LIST_ITEMS: Final = 1024

_U8: Final = struct.Struct("<B")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

u8 = _U8.pack
u32 = _U32.pack
u64 = _U64.pack


class Undecodable(Rejected):
    """
    The bytes are no transaction of this protocol.

    Guarantees: raised for every input that is not exactly one canonical value; no other error leaves a decoder.
    """


def text(value: str) -> bytes:
    """Write a string: its length in UTF-8 bytes, then the bytes."""
    raw = value.encode()
    return u64(len(raw)) + raw


def blob(value: bytes) -> bytes:
    """Write bytes: their length, then the bytes."""
    return u64(len(value)) + value


class Reader:
    """
    Reads primitives from the front of `data`.

    Guarantees: every length is compared with what is left before anything is copied; `end()` refuses leftovers.
    Does not guarantee: that the values make sense; that is the caller's to judge.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise Undecodable(
                f"{count} bytes wanted at offset {self._at}, {len(self._data) - self._at} are left"
            )
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def u8(self) -> int:
        """Read one unsigned byte."""
        return self._take(1)[0]

    def u32(self) -> int:
        """Read an unsigned 32-bit integer."""
        return int.from_bytes(self._take(4), "little")

    def u64(self) -> int:
        """Read an unsigned 64-bit integer."""
        return int.from_bytes(self._take(8), "little")

    def blob(self) -> bytes:
        """Read length-prefixed bytes."""
        return self._take(self.u64())

    def text(self) -> str:
        """Read a length-prefixed UTF-8 string."""
        raw = self.blob()
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise Undecodable(f"a string of {len(raw)} bytes is not UTF-8") from error

    def blobs(self) -> tuple[bytes, ...]:
        """Read a counted list of byte strings, at most MAX_LIST_ITEMS."""
        count = self.u64()
        if count > MAX_LIST_ITEMS:
            raise Undecodable(f"a list of {count} items, the limit is {MAX_LIST_ITEMS}")
        return tuple(self.blob() for _ in range(count))

    def fields(self, count: int) -> None:
        """Read a struct's field count and insist on `count`: no field is unknown, repeated or missing."""
        found = self.u64()
        if found != count:
            raise Undecodable(f"a struct of {found} fields where {count} are known")

    def field(self, name: str) -> None:
        """Read a field's name and insist that it is `name`."""
        found = self.blob()
        if found != name.encode():
            raise Undecodable(f"field {found[:32]!r} where {name!r} belongs")

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._at != len(self._data):
            raise Undecodable(f"{len(self._data) - self._at} bytes behind the end")
