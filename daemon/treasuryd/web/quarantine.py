"""Routes about a store that may be older than the world, and a signer that lost its memory (protocol.md §8, R11)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from treasuryd.commands import control, quarantine
from treasuryd.commands.fields import ids, person
from treasuryd.commands.office import MAX_IDS
from treasuryd.core.model import Nonce
from treasuryd.core.reading import shown
from treasuryd.errors import Rejected
from treasuryd.web import shapes
from treasuryd.web.envelope import answer, of_app
from treasuryd.web.rest import account, order_of, path_account

MAX_OLD_KEYS: Final = 20
_HEX_KEY: Final = re.compile("[0-9a-f]{64}")


async def show(request: web.Request) -> web.Response:
    """What was found, replayed, adopted and held; and what keeps each account in quarantine."""
    office, _ = of_app(request)
    report, rows = await quarantine.show(office)
    return answer({"report": dict(report), "accounts": [_row(row) for row in rows]})


def _row(row: quarantine.Shown) -> dict[str, Any]:
    now = row.standing
    return {
        "account": now.account,
        "taken_up": now.taken_up,
        "kill_switch": now.kill_switch,
        "mark": now.mark,
        "signer_lost": now.signer_lost,
        "open_nonces": list(now.open),
        "unknown_nonces": list(now.unknown),
        "ambiguous": list(now.ambiguous),
        "chain_nonce": now.consumed,
        "burned_nonce": now.burned,
        "next_nonce": row.next_nonce,
        "open_points": list(row.points),
    }


async def resolve(request: web.Request) -> web.Response:
    """End an account's quarantine; answers the account, and in `said` what a person should know now."""
    office, _ = of_app(request)
    order, name = order_of(request, "give_up"), path_account(request)
    event = await quarantine.resolve(office, name, person(order), give_up=_give_up(order))
    return answer(shapes.account(await control.one_account(office, name)) | {"said": event.detail})


async def declare(request: web.Request) -> web.Response:
    """Say that this store was restored."""
    office, _ = of_app(request)
    await quarantine.declare(office, person(order_of(request)))
    return await show(request)


async def fill(request: web.Request) -> web.Response:
    """Have the nonces filled whose bytes are lost."""
    office, _ = of_app(request)
    await quarantine.fill(office, path_account(request), person(order_of(request)))
    return await account(request)


async def import_bindings(request: web.Request) -> web.Response:
    """Have the signer take in everything that the store ever sealed for an account."""
    office, _ = of_app(request)
    order = order_of(request, "give_up", "beyond_policy", "old_keys")
    found = path_account(request)
    count = await quarantine.import_bindings(
        office,
        found,
        person(order),
        give_up=_give_up(order),
        beyond_policy=[Nonce(nonce) for nonce in _named(order)],
        old_keys=_old_keys(order),
    )
    return answer({"account": found, "imported": count})


def _give_up(order: Mapping[str, object]) -> bool:
    """Whether a person says that what is missing is lost for good."""
    found = order.get("give_up", False)
    if not isinstance(found, bool):
        raise Rejected(f"give_up must be true or false, this is {shown(found)}", field="give_up")
    return found


def _named(order: Mapping[str, object]) -> Sequence[int]:
    """Which nonces a person says are ours beyond the signer's policy."""
    return ids(order, "beyond_policy", limit=MAX_IDS) if "beyond_policy" in order else ()


def _old_keys(order: Mapping[str, object]) -> Sequence[bytes]:
    """Which public keys a person says the account had before."""
    found = order.get("old_keys", [])
    if not isinstance(found, list) or len(found) > MAX_OLD_KEYS:
        raise Rejected(f"old_keys must be a list of {MAX_OLD_KEYS} at most", field="old_keys")
    for key in found:
        if not isinstance(key, str) or not _HEX_KEY.fullmatch(key):
            raise Rejected(
                f"old_keys: a public key has 64 digits 0-9 a-f, this is {shown(key)}", field="old_keys"
            )
    return [bytes.fromhex(key) for key in found]


ROUTES: Final = (
    web.get("/treasury/quarantine", show),
    web.post("/treasury/quarantine/declare", declare),
    web.post("/treasury/quarantine/{account}/resolve", resolve),
    web.post("/treasury/quarantine/{account}/fill", fill),
    web.post("/treasury/signer/{account}/import", import_bindings),
)
