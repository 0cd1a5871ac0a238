"""
A mailbox on loopback for alerts: takes web hooks and mail, answers well, and writes each as one JSON line.

`make monitor` sends every notification here instead of waking somebody: `python -m tools.mailbox HTTP_PORT SMTP_PORT FILE`.
A line says by which way it came (`http` or `smtp`), to whom, and what was said. It is for development: no other machine
reaches it, and it keeps no secrets.
"""

import json
import signal
import socketserver
import sys
import threading
import time
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 4 * 1024 * 1024  # of one notification
MAX_LINE: Final = 4096
PATIENCE_SECONDS: Final = 30.0  # with a sender that falls silent


class Book:
    """The file of notifications; several may come at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def note(self, **what: Any) -> None:
        """Append one notification."""
        line = json.dumps({"at": time.time(), **what}, ensure_ascii=False) + "\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line)


class Hooks(BaseHTTPRequestHandler):
    """Takes what is posted, whatever the path: receiver and kind are in it."""

    timeout = PATIENCE_SECONDS
    book: Book

    def do_POST(self) -> None:
        """Take one notification; 202 is what every kind of receiver is content with."""
        length = min(int(self.headers.get("content-length") or 0), MAX_BYTES)
        text = self.rfile.read(length).decode("utf-8", "replace")
        try:
            said: Any = json.loads(text)
        except ValueError:
            said = text
        self.book.note(way="http", to=self.path, said=said)
        kind = self.path.rstrip("/").rsplit("/", 1)[-1]
        answer = b"ok" if kind == "slack" else b'{"status":"success","result":"success"}'
        self.send_response(200 if kind in {"slack", "webhook"} else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        """Say that it is here; mail was opened before."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the book says it."""


class Mail(socketserver.StreamRequestHandler):
    """Takes mail in as far as a sender on the same machine needs it (RFC 5321): no relaying, no secrets."""

    timeout = PATIENCE_SECONDS
    book: Book

    def handle(self) -> None:
        """Talk until the sender quits."""
        self._say("220 localhost mailbox")
        sender, to = "", list[str]()
        while line := self.rfile.readline(MAX_LINE):
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    self._say("250 localhost")
                case "MAIL":
                    sender, to = _address(rest), []
                    self._say("250 OK")
                case "RCPT":
                    to.append(_address(rest))
                    self._say("250 OK")
                case "DATA":
                    self._say("354 End with a single dot")
                    mail = message_from_bytes(self._data())
                    subject = str(mail.get("subject", ""))
                    self.book.note(way="smtp", to=to, sender=sender, subject=subject, said=_text(mail))
                    self._say("250 OK")
                case "RSET" | "NOOP":
                    self._say("250 OK")
                case "QUIT":
                    self._say("221 Bye")
                    return
                case _:
                    self._say("502 Not here")

    def _data(self) -> bytes:
        lines = list[bytes]()
        size = 0
        while (line := self.rfile.readline(MAX_LINE)) and line.rstrip(b"\r\n") != b".":
            size += len(line)
            if size <= MAX_BYTES:
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def _address(path: str) -> str:
    """Take the address out of `FROM:<a@b>` and `TO:<a@b>`."""
    return path.partition("<")[2].partition(">")[0]


def _text(mail: Message) -> str:
    """Give the readable parts of a mail."""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    bodies = [part.get_payload(decode=True) for part in parts]
    return "\n".join(body.decode("utf-8", "replace") for body in bodies if isinstance(body, bytes))


class _Post(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(http_port: int, smtp_port: int, path: Path) -> None:
    """Serve until told to end."""
    book = Book(path)
    mail = _Post(("127.0.0.1", smtp_port), type("BookedMail", (Mail,), {"book": book}))
    hooks = ThreadingHTTPServer(("127.0.0.1", http_port), type("BookedHooks", (Hooks,), {"book": book}))
    over = threading.Event()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the others read their files again by it; here are none
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with hooks, mail:
        for server in (hooks, mail):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        over.wait()
        hooks.shutdown()
        mail.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
