"""The command group: what there is, which daemon is meant, and how an error becomes an exit code."""

import platform
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import click

import treasuryd
from treasuryd.cli import (
    accounts,
    audit,
    journal,
    local,
    metrics,
    orders,
    quarantine,
    reading,
    screen,
    stopped,
    submitting,
    voting,
)
from treasuryd.cli.client import DEFAULT_URL, Daemon
from treasuryd.cli.failures import EXIT_HELP, Failure, of_error
from treasuryd.errors import Exit, TreasuryError

_ABOUT: Final = """
Pays governance-approved disbursements on The Block, each exactly once.

`run` starts the daemon; every other command below `run` talks to a running one over HTTP.
"""


def version_text() -> str:
    """Own version, Python's and SQLite's: what a bug report needs."""
    return f"treasuryd {treasuryd.__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted and not context.resilient_parsing:
        click.echo(version_text())
        context.exit()


@click.group(help=_ABOUT, epilog=EXIT_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    envvar="TREASURYD_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Where the daemon listens.",
)
@click.option(
    "--token-file",
    envvar="TREASURYD_TOKEN_FILE",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="File with the bearer token that orders need.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of treasuryd, Python and SQLite.",
)
@click.pass_context
def cli(context: click.Context, url: str, token_file: Path | None) -> None:
    """Keep where the daemon is; a command that talks to none never looks at it."""
    context.obj = lambda: Daemon(url, token_file=token_file)


for command in (*local.COMMANDS, *submitting.COMMANDS, *reading.COMMANDS, *voting.COMMANDS):
    cli.add_command(command)
for command in (
    *orders.COMMANDS,
    *accounts.COMMANDS,
    *journal.COMMANDS,
    *audit.COMMANDS,
    *metrics.COMMANDS,
    *quarantine.COMMANDS,
):
    cli.add_command(command)
quarantine.quarantine.add_command(stopped.declare_stopped)


def main(args: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Returns: its exit code (interfaces.md §3). Guarantees: no stack trace for anything a person can cause; a bug of ours
    shows its one line and ends with 70.
    """
    try:
        result = cli.main(
            args=None if args is None else list(args), prog_name="treasuryd", standalone_mode=False
        )
        return int(cast("Any", result)) if isinstance(result, int) else Exit.DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failure as failure:
        screen.complain(f"treasuryd: {failure.message}", failure.hint)
        return failure.code
    except TreasuryError as error:
        screen.complain(f"treasuryd: {error.message}", error.hint)
        return of_error(error).code
    except (click.Abort, KeyboardInterrupt):
        screen.complain("treasuryd: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; nothing is wrong
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 - the last line of defence, and it says what it caught
        screen.complain(
            f"treasuryd: a bug of ours: {type(error).__name__}: {error}",
            "Please report it with the output of `treasuryd --version`.",
        )
        return Exit.OUR_BUG
