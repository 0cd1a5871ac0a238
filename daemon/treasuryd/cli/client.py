"""
The command line's way to the daemon: one bounded HTTP request at a time, with a deadline.

A daemon that does not answer is told apart from one that refuses, since only the second one did read the request.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from treasuryd.cli.failures import Failure
from treasuryd.errors import Exit

DEFAULT_URL: Final = "http://127.0.0.1:9477"
TIMEOUT_SECONDS: Final = 60.0  # a request of 1,000 items on a busy daemon
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
MAX_TOKEN_BYTES: Final = 4_096
_UNAUTHORIZED: Final = "Name the file that holds it with --token-file or TREASURYD_TOKEN_FILE."
_CODE_OF: Final[Mapping[int, Exit]] = {
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    500: Exit.OUR_BUG,
    503: Exit.NOT_REACHED,
}


class Daemon:
    """
    A daemon at a URL.

    Guarantees: a reply larger than 64 MiB, not JSON or late is a Failure with a sentence; nothing is repeated by itself.
    Does not guarantee: after a lost connection, that the request was not done. Repeating it is safe where it carries an
    idempotency key, as submissions do.
    """

    def __init__(self, url: str = DEFAULT_URL, *, token_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise Failure(Exit.USAGE, f"{url!r} is no http:// or https:// address of a daemon")
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        try:
            self._port = parts.port or (443 if self._secure else 80)
        except ValueError as error:
            raise Failure(Exit.USAGE, f"{url!r} has no valid port") from error
        self._base = parts.path.rstrip("/")

    def get(
        self, path: str, query: Mapping[str, object] | None = None, *, accept: tuple[int, ...] = ()
    ) -> Any:
        """Ask; statuses in `accept` count as answers besides 2xx."""
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        target = path + ("?" + urlencode(wanted) if wanted else "")
        return self._request("GET", target, None, {}, accept)

    def text(self, path: str) -> str:
        """Ask for something that is no JSON, the metrics."""
        status, raw = self._exchange("GET", path, None, {})
        if status != 200:
            raise Failure(Exit.NOT_REACHED, f"what answers at {self.url} is no treasuryd (status {status})")
        return raw.decode("utf-8", "replace")

    def send(
        self,
        method: str,
        path: str,
        body: object,
        *,
        key: str | None = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """Order something: a JSON body, the token where one is configured, an idempotency key where there is one."""
        headers = {"Content-Type": "application/json", **self._authorization()}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self._request(method, path, json.dumps(body).encode(), headers, accept)

    def call(self, method: str, params: Mapping[str, object] | None = None) -> Any:
        """Make one JSON-RPC call and give its result."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})}
        reply = self.send("POST", "/rpc", body)
        if not isinstance(reply, dict) or reply.get("id") != 1:
            raise Failure(Exit.OUR_BUG, f"{self.url} did not answer the call")
        if "error" in reply:
            raise Failure(
                Exit.NOT_ALL, f"{reply['error'].get('message')} (code {reply['error'].get('code')})"
            )
        return reply["result"]

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            with self._token_file.open("rb") as file:
                token = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
            raise Failure(
                Exit.REFUSED, f"the token file {self._token_file} cannot be read: {reason}"
            ) from error
        if not token or not token.isprintable():
            raise Failure(Exit.REFUSED, f"the token file {self._token_file} holds no token")
        return {"Authorization": f"Bearer {token}"}

    def _request(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        accept: tuple[int, ...],
    ) -> Any:
        status, raw = self._exchange(method, target, body, headers)
        return self._read(status, raw, accept)

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, self._base + target, body=body, headers=dict(headers))
            response = connection.getresponse()
            raw = response.read(MAX_REPLY_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._not_reached(error) from error
        finally:
            connection.close()
        if len(raw) > MAX_REPLY_BYTES:
            raise Failure(Exit.OUR_BUG, f"the answer of {self.url} is larger than {MAX_REPLY_BYTES} bytes")
        return response.status, raw

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_SECONDS, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)

    def _not_reached(self, error: Exception) -> Failure:
        if isinstance(error, TimeoutError):
            return Failure(
                Exit.NOT_REACHED,
                f"{self.url} did not answer within {TIMEOUT_SECONDS:.0f} s; the request may have been done",
                hint="Look with `treasuryd list` before you repeat it.",
            )
        if isinstance(error, (ConnectionRefusedError, socket.gaierror)):
            return Failure(
                Exit.NOT_REACHED,
                f"no treasuryd runs at {self.url}",
                hint="Start one with `treasuryd run`, or name another with --url.",
            )
        reason = str(error) or type(error).__name__
        return Failure(Exit.NOT_REACHED, f"no treasuryd answers at {self.url}: {reason}")

    def _read(self, status: int, raw: bytes, accept: tuple[int, ...]) -> Any:
        try:
            reply = json.loads(raw) if raw else None
        except ValueError as error:
            raise Failure(
                Exit.NOT_REACHED, f"what answers at {self.url} is no treasuryd (status {status}, no JSON)"
            ) from error
        if 200 <= status < 300 or status in accept:
            return reply
        problem = reply.get("error") if isinstance(reply, dict) else None
        if not isinstance(problem, dict):
            raise Failure(Exit.NOT_REACHED, f"what answers at {self.url} is no treasuryd (status {status})")
        code = _CODE_OF.get(status, Exit.NOT_ALL)
        hint = _UNAUTHORIZED if status == 401 else str(problem.get("hint") or "")
        raise Failure(code, str(problem.get("message")), hint=hint)


def path_of(*parts: object) -> str:
    """Put a path together, each part quoted."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)
