"""Options and small helpers that several commands share."""

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import click

from treasuryd.cli import screen
from treasuryd.cli.client import Daemon
from treasuryd.errors import Exit

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "wants_json", is_flag=True, help="Print JSON instead of tables.")
item_id = click.argument("item", metavar="ID", type=click.IntRange(1, 2**63 - 1))
item_ids = click.argument(
    "items", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1)
)
account_name = click.argument("account", metavar="ACCOUNT")


def reason(command: Command) -> Command:
    """Add --reason and --by: an order says why, and who gives it."""
    command = click.option("--by", default=None, help="Who orders it; the user's name by default.")(command)
    return click.option("--reason", required=True, help="Why; it goes into the journal.")(command)


def order(why: str, by: str | None, **more: object) -> dict[str, object]:
    """The body of an order."""
    return {"reason": why, "by": by or user_name(), **more}


def user_name() -> str:
    """The user's name, for the journal; what it is worth, the token decides."""
    try:
        return "".join(char for char in getpass.getuser() if char.isprintable())[:64] or "cli"
    except (OSError, KeyError):
        return "cli"


def daemon() -> Daemon:
    """The daemon that this call means."""
    found: Daemon = click.get_current_context().obj()
    return found


def show_outcomes(reply: Any, *, wants_json: bool) -> int:
    """Print what became of each item; 1 when something was not done."""
    rows = reply["items"]
    if wants_json:
        screen.as_json(reply)
    else:
        columns = ("id", "done", "what", "detail")
        screen.table(
            "",
            columns,
            [
                (
                    row["id"],
                    "yes" if row["done"] else "NO",
                    row["what"],
                    screen.cell(row["detail"], limit=300),
                )
                for row in rows
            ],
        )
    return Exit.DONE if all(row["done"] for row in rows) else Exit.NOT_ALL
