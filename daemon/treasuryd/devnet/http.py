"""
HTTP/1.1 as the node speaks it: requests out of bytes, answers into bytes. No I/O.

Written by hand because the node answers what no server library can be made to send (`101 Unknown` with a stray
`content-length`), and because a development chain has to keep up with a fast payer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from treasuryd.errors import Rejected

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 100
_END: Final = b"\r\n\r\n"
_REASONS: Final = {
    200: "OK", 204: "No Content", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadRequest(Rejected):
    """The bytes are no request: answer 400 and close."""


class BodyTooLarge(Rejected):
    """The announced body is over the limit: the node resets the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def host(self) -> str:
        """The Host header without its port, in lower case."""
        host = self.headers.get("host", "").strip().lower()
        return host.split("]")[0] + "]" if host.startswith("[") else host.split(":", 1)[0]

    @property
    def closes(self) -> bool:
        """Whether the client wants the connection closed afterwards."""
        return self.headers.get("connection", "").lower() == "close"


class Parser:
    """
    Collects bytes of one connection and gives whole requests.

    Guarantees: holds at most one head and one body beyond what was asked for; every input leads to a request, to
        None (more is needed) or to BadRequest or BodyTooLarge.
    """

    __slots__ = ("_buffer", "_head", "_length", "_max_body", "expects_continue")

    def __init__(self, max_body: int) -> None:
        self._buffer = bytearray()
        self._head: Request | None = None
        self._length = 0
        self._max_body = max_body
        self.expects_continue = False

    def feed(self, data: bytes) -> None:
        """Take in bytes."""
        self._buffer += data

    def take(self) -> bytes:
        """Hand over what was not read as HTTP: after an upgrade it belongs to another protocol."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next(self) -> Request | None:
        """Give the next whole request; None when more bytes are needed."""
        if self._head is None and not self._read_head():
            return None
        head = self._head
        if head is None or len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._head = None
        self.expects_continue = False
        return Request(method=head.method, path=head.path, headers=head.headers, body=body)

    def _read_head(self) -> bool:
        end = self._buffer.find(_END, 0, MAX_HEAD_BYTES + len(_END))
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequest(f"a request head of more than {MAX_HEAD_BYTES} bytes")
            return False
        text = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + len(_END)]
        self._head = _head(text)
        self._length = _body_length(self._head.headers)
        if self._length > self._max_body:
            raise BodyTooLarge(f"a body of {self._length} bytes, the limit is {self._max_body}")
        self.expects_continue = self._head.headers.get("expect", "").lower() == "100-continue"
        return True


def _head(text: str) -> Request:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.1", "HTTP/1.0"} or not words[0].isalpha():
        raise BadRequest("the first line is no HTTP/1.1 request line")
    if len(lines) > MAX_HEADERS:
        raise BadRequest(f"{len(lines)} headers, the limit is {MAX_HEADERS}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("a header line without a name")
        headers[name.lower()] = value.strip()
    return Request(method=words[0], path=words[1], headers=headers)


def _body_length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest("a transfer encoding: send the body with its content-length")
    stated = headers.get("content-length", "0")
    if not (stated.isascii() and stated.isdigit() and len(stated) < 16):
        raise BadRequest("content-length is no number")
    return int(stated)


def answer(status: int, body: bytes = b"", *, close: bool = False, kind: str = "application/json") -> bytes:
    """Write an answer, of a content type when there is a body, and whether the connection is kept."""
    kind = f"content-type: {kind}\r\n" if body else ""
    keep = "connection: close\r\n" if close else "connection: keep-alive\r\nkeep-alive: timeout=90\r\n"
    reason = _REASONS.get(status, "Unknown")
    return f"HTTP/1.1 {status} {reason}\r\n{kind}content-length: {len(body)}\r\n{keep}\r\n".encode() + body


def plain(status: int, text: str) -> bytes:
    """Write an answer in plain text that closes the connection, as the node refuses an upgrade."""
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\ncontent-length: {len(text)}\r\n"
    return f"{head}connection: close\r\n\r\n{text}".encode()
