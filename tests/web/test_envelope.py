"""What every request goes through: request id, host, token, content type, size, and errors as one JSON object."""

import asyncio
from typing import Any

import pytest
from tests.fakes import FakeWorld, disbursement
from tests.web.conftest import TOKEN, Open, Site

from treasuryd.core.events import EventKind
from treasuryd.errors import Corrupt, Rejected, Transient
from treasuryd.web.app import WebOptions, not_bound, serve

ITEM = {"destination": "tb1qpayee", "amount": 5, "scheduled_epoch": 1}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({}, id="no token"),
        pytest.param({"Authorization": "Bearer wrong"}, id="a wrong token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="another scheme"),
        pytest.param({"Authorization": f"Bearer {TOKEN}x"}, id="a longer token"),
        pytest.param({"Authorization": f"Bearer {TOKEN[:-1]}"}, id="a shorter token"),
        pytest.param({"Authorization": TOKEN}, id="the bare token"),
    ],
)
async def test_writing_without_the_token_is_refused(site: Site, header: dict[str, str]) -> None:
    """401, with what would be needed, and nothing is stored."""
    answer = await site.ask(
        "POST", "/treasury/disbursements", data=b'{"destination":"tb1a"}', headers={**JSON, **header}
    )
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.error["code"] == "unauthorized"
    assert "token" in answer.error["message"]
    assert TOKEN not in answer.body.decode()
    assert site.world.desk.items == {}


async def test_without_a_configured_token_only_development_writes(open_site: Open) -> None:
    """In production nobody writes; in development loopback does."""
    production: Site = await open_site(token=lambda: None)
    refused = await production.ask("POST", "/treasury/disbursement", data=b"{}", headers=JSON)
    assert (refused.status, refused.error["code"]) == (403, "forbidden")
    assert "token_file" in refused.error["hint"]
    development: Site = await open_site(token=lambda: None, development=True)
    done = await development.post("/treasury/disbursement", ITEM)
    assert done.status == 201


async def test_reading_needs_no_token(site: Site) -> None:
    """The address is loopback by default; what is shown is no secret there."""
    assert (await site.get("/treasury/disbursements")).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9477", 200),
        ("127.0.0.1:9477", 200),
        ("[::1]:9477", 200),
        ("treasury.example", 200),
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("", 403),
    ],
)
async def test_a_name_that_is_not_ours_is_refused(open_site: Open, host: str, status: int) -> None:
    """A page that points its own name at 127.0.0.1 reads nothing (DNS rebinding)."""
    site: Site = await open_site(allowed_hosts=("treasury.example",))
    answer = await site.ask("GET", "/treasury/accounts", headers={"Host": host})
    assert answer.status == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_of_a_foreign_page_writes_nothing(site: Site, kind: str) -> None:
    """What a browser sends without asking first is not JSON (CSRF)."""
    answer = await site.post("/treasury/disbursement", ITEM, Content_Type=kind)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert site.world.desk.items == {}


async def test_a_compressed_body_is_not_unpacked(site: Site) -> None:
    """Small on the wire, endless in memory: refused before it is read."""
    answer = await site.post("/treasury/disbursement", b"\x1f\x8b", Content_Encoding="gzip")
    assert answer.status == 415


async def test_a_body_above_the_limit_is_refused_unread(open_site: Open) -> None:
    """By its announced size, and by its real one where none is announced."""
    site: Site = await open_site(max_body_bytes=1_000)
    answer = await site.post("/treasury/disbursement", b" " * 1_001)
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert "1000 bytes" in answer.error["message"]
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    chunk = b"400\r\n" + b" " * 1_024 + b"\r\n"
    writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_strangers_may_send_less_than_those_with_a_token(site: Site) -> None:
    """`/rpc` can be read without a token, but not filled with 16 MiB."""
    body = b'{"method":"gov.treasury.balance","id":1,"params":{}}' + b" " * (1024 * 1024)
    refused = await site.ask("POST", "/rpc", data=body, headers=JSON)
    assert refused.status == 413
    assert (await site.post("/rpc", body)).status == 200


async def test_a_request_id_is_echoed_or_made(site: Site) -> None:
    """A good one of the client's is kept, anything else replaced."""
    kept = await site.ask("GET", "/livez", headers={"X-Request-Id": "trace-1"})
    assert kept.headers["X-Request-Id"] == "trace-1"
    made = await site.ask("GET", "/livez", headers={"X-Request-Id": "a b<script>"})
    assert len(made.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/treasury/disbursements/1", 405, "method_not_allowed"),
        ("GET", "/rpc", 405, "method_not_allowed"),
        ("GET", "/treasury/disbursements/0", 400, "invalid"),
        ("GET", "/treasury/disbursements/x", 400, "invalid"),
        ("GET", "/treasury/disbursements/9223372036854775808", 400, "invalid"),
        ("GET", "/treasury/disbursements/7", 404, "not_found"),
    ],
)
async def test_every_refusal_has_the_same_shape(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    """`{"error": {code, message, field, hint}}`, whoever refuses."""
    headers = {**JSON, "Authorization": f"Bearer {TOKEN}"}
    answer = await site.ask(method, path, data=b"{}" if method == "DELETE" else None, headers=headers)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert set(answer.error) == {"code", "message", "field", "hint"}


async def test_a_bug_shows_its_id_and_nothing_else(site: Site) -> None:
    """No stack trace, no text of the exception; the log has both under the request's id."""

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret insides")

    site.world.desk.get = broken  # type: ignore[method-assign,assignment]  # to have a bug
    answer = await site.get("/treasury/disbursements/1")
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert "secret" not in answer.body.decode()
    assert answer.headers["X-Request-Id"] in answer.error["hint"]
    event = site.world.observer.events[-1]
    assert (event.kind, event.reason) == (EventKind.REQUEST_FAILED, "ZeroDivisionError")
    assert not site.task.done()


async def test_a_storage_error_ends_the_server(site: Site) -> None:
    """The process has to end (protocol.md §7): the task raises what the request met."""
    site.world.desk.put(disbursement())
    site.world.desk.broken = True
    answer = await site.get("/treasury/disbursements/1")
    assert (answer.status, answer.error["code"]) == (500, "internal")
    with pytest.raises(Corrupt, match="disk I/O error"):
        await site.task


async def test_an_address_in_use_is_named_and_may_be_free_later(site: Site) -> None:
    """The service manager tries again: the one before may be ending, a network may come up."""
    with pytest.raises(Transient, match=f"cannot listen on 127.0.0.1:{site.port}"):
        await serve(FakeWorld().office(), WebOptions(port=site.port), ready=lambda _: None)


def test_a_port_that_is_not_allowed_stays_so() -> None:
    """Starting again changes nothing: a person chooses another one."""
    found = not_bound("127.0.0.1", 80, PermissionError(13, "Permission denied"))
    assert isinstance(found, Rejected)
    assert found.message == "cannot listen on 127.0.0.1:80: Permission denied"


async def test_stopping_lets_a_running_request_end(open_site: Open) -> None:
    """Graceful: no new connection, but the answer that is being made still goes out."""
    site: Site = await open_site(grace_seconds=3.0)
    go, came = asyncio.Event(), asyncio.Event()
    look = site.world.desk.accounts

    async def slow() -> Any:
        came.set()
        await go.wait()
        return await look()

    site.world.desk.accounts = slow  # type: ignore[method-assign]  # to hold a request in the middle
    asked = asyncio.ensure_future(site.get("/treasury/accounts"))
    await came.wait()
    site.task.cancel()
    await asyncio.sleep(0.05)
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of a closed port
        await asyncio.open_connection("127.0.0.1", site.port)
    go.set()
    assert (await asked).status == 200
    with pytest.raises(asyncio.CancelledError):
        await site.task


async def test_a_reload_may_change_the_token(open_site: Open) -> None:
    """The token is asked for at each request."""
    tokens = ["one"]
    site: Site = await open_site(token=lambda: tokens[0])
    assert (await site.post("/treasury/disbursement", ITEM, Authorization="Bearer one")).status == 201
    tokens[0] = "two"
    assert (await site.post("/treasury/disbursement", ITEM, Authorization="Bearer one")).status == 401
