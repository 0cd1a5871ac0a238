"""Commands that only look: list, show, explain, balance, status."""

import json
from typing import Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.client import path_of
from treasuryd.cli.shared import as_json, daemon, item_id

_PAGE: Final = 200


@click.command("list")
@click.option(
    "--status", help="draft, voting, queued, timelocked, executed, finalized, rolled_back or scheduled."
)
@click.option("--destination", help="Only payments to this address.")
@click.option("--account", help="Only payments from this account.")
@click.option("--min-epoch", type=click.IntRange(0), help="Scheduled in this epoch or later.")
@click.option("--max-epoch", type=click.IntRange(0), help="Scheduled in this epoch or earlier.")
@click.option("--min-amount", type=click.IntRange(0), help="Base units.")
@click.option("--max-amount", type=click.IntRange(0), help="Base units.")
@click.option("--min-created-at", type=click.IntRange(0), help="Unix seconds.")
@click.option("--max-created-at", type=click.IntRange(0), help="Unix seconds.")
@click.option("--min-status-ts", type=click.IntRange(0), help="Unix seconds of the last change of status.")
@click.option("--max-status-ts", type=click.IntRange(0), help="Unix seconds of the last change of status.")
@click.option(
    "--waiting", is_flag=True, help="What waits for a person: held and ambiguous items; no other filter."
)
@click.option("--cursor", type=click.IntRange(1), help="Only ids below it: where the last page ended.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@as_json
def list_items(wants_json: bool, waiting: bool, limit: int, **filters: Any) -> None:  # noqa: FBT001 - click passes flags so
    """List disbursements, newest first."""
    items: list[Any] = []
    query = dict(filters)
    if waiting and any(value is not None for name, value in query.items() if name != "cursor"):
        raise click.UsageError("--waiting goes with --cursor and --limit alone")
    path = "/treasury/disbursements/waiting" if waiting else "/treasury/disbursements"
    following = filters.get("cursor")
    while True:
        query |= {"limit": min(limit - len(items), _PAGE), "cursor": following}
        page = daemon().get(path, query)
        items += page["items"]
        following = page["next_cursor"]
        if following is None or len(items) >= limit:
            break
    if wants_json:
        screen.as_json({"items": items, "next_cursor": following})
        return
    columns = ("id", "status", "amount", "destination", "epoch", "hold", "changed", "memo")
    screen.table("", columns, [_row(item) for item in items])
    if following is not None:
        screen.say(f"More: --cursor {following}")


def _row(item: Any) -> tuple[object, ...]:
    memo = screen.cell(item["memo"], limit=40)
    changed = screen.moment(item["status_at"])
    return (
        item["id"],
        item["status"],
        item["amount"],
        item["destination"],
        item["scheduled_epoch"],
        item["hold"],
        changed,
        memo,
    )


@click.command()
@item_id
@as_json
def show(item: int, wants_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Show everything about one disbursement, its payments included."""
    found = daemon().get(path_of("treasury", "disbursements", item))
    if wants_json:
        screen.as_json(found)
        return
    intents = found.pop("intents")
    proposal = found.pop("proposal")
    screen.pairs({name: _readable(name, value) for name, value in found.items()})
    if proposal is not None:
        screen.say("")
        screen.say("proposal")
        screen.pairs({name: _readable(name, value) for name, value in proposal.items()})
    if intents:
        columns = ("intent", "nonce", "state", "height", "evidence", "variant", "fee", "sent", "hash")
        screen.say("")
        screen.table("payments", columns, [row for intent in intents for row in _variant_rows(intent)])


def _readable(name: str, value: object) -> object:
    if name.endswith("_at"):
        return screen.moment(value)
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return ", ".join(str(one) for one in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _variant_rows(intent: Any) -> list[tuple[object, ...]]:
    start = (intent["id"], intent["nonce"], intent["state"], intent["height"], intent["evidence"])
    return [
        (
            *start,
            variant["kind"],
            variant["fee"],
            variant["attempts"],
            screen.cell(variant["tx_hash"], limit=64),
        )
        for variant in intent["variants"]
    ]


@click.command()
@item_id
@as_json
def explain(item: int, wants_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Say in one sentence why it is not paid yet."""
    found = daemon().get(path_of("treasury", "disbursements", item, "explain"))
    if wants_json:
        screen.as_json(found)
    else:
        screen.say(found["sentence"])


@click.command()
@click.option("--history", is_flag=True, help="Show the movements, newest first.")
@click.option("--account", help="Only this account's movements.")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many movements."
)
@click.option("--cursor", type=click.IntRange(1), help="Only movements with ids below it.")
@as_json
def balance(*, history: bool, account: str | None, limit: int, cursor: int | None, wants_json: bool) -> None:
    """Show what the accounts own: on the chain, and booked."""
    if history:
        query = {"account": account, "limit": limit, "cursor": cursor}
        found = daemon().get("/treasury/balance/history", query)
    else:
        found = daemon().get("/treasury/balance")
    if wants_json:
        screen.as_json(found)
    elif history:
        columns = ("id", "at", "account", "kind", "delta", "fee", "balance", "disbursement", "height")
        screen.table("", columns, [_movement(event) for event in found["items"]])
    else:
        names = ("account", "chain_balance", "booked_balance", "height")
        screen.table("", names, [[row[name] for name in names] for row in found["items"]])


def _movement(event: Any) -> tuple[object, ...]:
    return (
        event["id"],
        screen.moment(event["recorded_at"]),
        event["account"],
        event["kind"],
        event["delta"],
        event["fee"],
        event["balance"],
        event["disbursement_id"],
        event["height"],
    )


@click.command()
@as_json
def status(*, wants_json: bool) -> None:
    """Show the daemon's health, leases, chain and work."""
    health = daemon().get("/health", accept=(503,))
    executor = daemon().get("/treasury/executor/status", accept=(500, 503))
    if wants_json:
        screen.as_json({"health": health, "executor": executor})
        return
    screen.table("", ("check", "verdict", "reason"), [_check(check) for check in health["checks"]])
    screen.say("")
    chain = health["chain"]
    screen.pairs(
        {
            "status": health["status"],
            "version": health["version"],
            "leader": "yes" if health["leader"] else "no",
            "height": chain["height"],
            "settled epoch": chain["settled_epoch"],
            "evidence": chain["evidence"],
            "last tick": screen.moment(executor.get("last_tick_at")),
            "last success": screen.moment(executor.get("last_success_at")),
            "last error": executor.get("last_error"),
            "waiting": executor.get("pending_matured"),
            "in flight": executor.get("staged_intents"),
        }
    )
    if health["leases"]:
        screen.say("")
        columns = ("account", "holder", "term", "ours")
        rows = [
            (row["account"], row["holder"], row["term"], "yes" if row["ours"] else "no")
            for row in health["leases"]
        ]
        screen.table("leases", columns, rows)


def _check(check: Any) -> tuple[object, ...]:
    return check["name"], check["verdict"], screen.cell(check["reason"], limit=300)


COMMANDS: Final = (list_items, show, explain, balance, status)
