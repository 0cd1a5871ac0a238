"""Commands of this machine: run, devnet, demo, keys, config. Only these read settings and start anything."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.failures import Failure, of_error
from treasuryd.cli.keyfiles import secret_of
from treasuryd.cli.shared import Command, as_json
from treasuryd.core.model import Disbursement
from treasuryd.errors import Exit, Rejected

if TYPE_CHECKING:
    from treasuryd.devnet.server import Devnet
    from treasuryd.main.demo import Summary
    from treasuryd.settings import Settings

# The heavy imports (settings, adapters, chain) are inside the functions that need them: `treasuryd list` starts faster.

SYSTEM_CONFIG: Final = Path("/etc/treasuryd/treasuryd.toml")
DEVELOPMENT_CONFIG: Final = Path("config/dev.toml")
SAMPLE: Final = Path("config/samples")
DEMO_STATE: Final = Path(".state/demo")

config_file = click.option(
    "--config",
    "-c",
    "config",
    envvar="TREASURYD_CONFIG",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help=f"The configuration file; by default {SYSTEM_CONFIG}, where it exists.",
)


def settings_flags(command: Command) -> Command:
    """Add the options that override settings."""
    for option in (
        click.option(
            "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Any setting, `http.port=0`."
        ),
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="log.level"
        ),
        click.option("--port", type=click.IntRange(0, 65_535), help="http.port; 0 lets the system choose."),
        click.option("--state-folder", type=click.Path(path_type=Path), help="state_folder"),
        config_file,
    ):
        command = option(command)
    return command


def flags_of(
    *, pairs: tuple[str, ...], state_folder: Path | None, port: int | None, log_level: str | None
) -> dict[str, object]:
    """The flags as settings name them."""
    found: dict[str, object] = {
        "state_folder": None if state_folder is None else state_folder.absolute(),
        "http.port": port,
        "log.level": log_level,
    }
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--set {pair}: write NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def read_settings(config: Path | None, flags: Mapping[str, object]) -> "Settings":
    """Read all layers; raises Rejected, which the running daemon answers in its log (SIGHUP)."""
    from treasuryd.settings import load  # noqa: PLC0415 - see above

    file = config if config is not None else (SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None)
    return load(file, os.environ, flags)


def load_settings(config: Path | None, flags: Mapping[str, object]) -> "Settings":
    """Read all layers for a command; what is wrong ends it with 78."""
    try:
        return read_settings(config, flags)
    except Rejected as error:
        raise of_error(error, rejected=Exit.CONFIGURATION) from error


@click.command()
@settings_flags
@click.option("--submit", type=click.Path(path_type=Path), help="Submit this JSON batch once ready.")
def run(*, config: Path | None, submit: Path | None, **chosen: Any) -> int:
    """Run the daemon until it is stopped (SIGTERM); SIGHUP reads the configuration again."""
    flags = flags_of(**chosen)
    settings = load_settings(config, flags)
    from treasuryd.main import run as run_daemon  # noqa: PLC0415 - see above

    return run_daemon(settings, submit=submit, reread=lambda: read_settings(config, flags))


@click.command()
@config_file
@click.option("--profile", type=click.Choice(["dev", "real", "bench"]), help="What the node is like.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=3030,
    show_default=True,
    help="0 lets the system choose.",
)
@click.option(
    "--state-folder", type=click.Path(path_type=Path), help="Keep mined blocks there; by default nowhere."
)
@click.option("--bare", is_flag=True, help="No look-up, no batches, no single accounts: as the real node.")
@click.option(
    "--offered", type=click.Path(path_type=Path), help="Write every transaction that is offered to this file."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    help="Listen for metrics there, too; 0 lets the system choose. By default nowhere.",
)
@click.option("--block-interval", type=click.FloatRange(0.005, 600), help="Seconds between two blocks.")
@click.option(
    "--pool-ttl", type=click.FloatRange(1, 86_400), help="Seconds until the pool drops a transaction (1800)."
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Makes random faults repeatable.")
@click.option(
    "--fund", "funds", multiple=True, metavar="NAME=AMOUNT", help="Base units that an account starts with."
)
def devnet(
    *, config: Path | None, profile: str | None, bare: bool, funds: tuple[str, ...], **chosen: Any
) -> int:
    """Run a development chain alone; `chain.endpoints` of a daemon may point at it."""
    from treasuryd.devnet.config import NO_ABILITIES  # noqa: PLC0415 - see above
    from treasuryd.devnet.config import profile as profile_of  # noqa: PLC0415
    from treasuryd.main import run_devnet  # noqa: PLC0415
    from treasuryd.main.roots import devnet_config  # noqa: PLC0415

    base = profile_of(profile or "dev")
    if config is not None:
        overriding = {} if profile is None else {"devnet.profile": profile}
        base = replace(devnet_config(load_settings(config, overriding)), state_folder=None)
    found = replace(
        base,
        abilities=NO_ABILITIES if bare else base.abilities,
        rules=replace(base.rules, ttl_seconds=chosen["pool_ttl"] or base.rules.ttl_seconds),
        port=chosen["port"],
        metrics_port=chosen["metrics_port"],
        market=base.profile == "dev",
        state_folder=chosen["state_folder"],
        offered=chosen["offered"],
        block_interval_seconds=chosen["block_interval"] or base.block_interval_seconds,
        seed=base.seed if chosen["seed"] is None else chosen["seed"],
        genesis={**base.genesis, **dict(_fund(pair) for pair in funds)},
    )
    return run_devnet(found, ready=_say_where)


def _say_where(chain: "Devnet") -> None:
    metrics = "" if chain.metrics_url is None else f", its metrics are at {chain.metrics_url}"
    screen.say(f"The development chain listens on {chain.url}{metrics}")


def _fund(pair: str) -> tuple[str, int]:
    name, separator, amount = pair.rpartition("=")
    if not separator or not name or not (amount.isascii() and amount.isdigit()):
        raise click.UsageError(f"--fund {pair}: write NAME=AMOUNT, the amount in base units")
    return name, int(amount)


@click.command()
@settings_flags
@click.option(
    "--sample", type=click.Path(path_type=Path), default=SAMPLE, show_default=True, help="What to pay."
)
@as_json
def demo(*, config: Path | None, sample: Path, wants_json: bool, **chosen: Any) -> int:
    """Pay a sample to finality on the embedded development chain, and check each was paid exactly once."""
    file = config or (DEVELOPMENT_CONFIG if DEVELOPMENT_CONFIG.exists() else None)
    if file is None:
        raise Failure(
            Exit.CONFIGURATION,
            f"{DEVELOPMENT_CONFIG} is not here",
            hint="Call it in the checkout, or name a development configuration with --config.",
        )
    # a demonstration never stands in the way of a running daemon: its own state, free ports, a quiet log
    flags = {"devnet.port": 0, **flags_of(**chosen)}
    flags["state_folder"] = flags["state_folder"] or DEMO_STATE.absolute()
    flags["http.port"] = flags["http.port"] or 0
    flags["log.level"] = flags["log.level"] or "warning"
    settings = load_settings(file, flags)
    from treasuryd.main import run_demo  # noqa: PLC0415 - see above

    found = run_demo(settings, sample=sample, tell=lambda item: None if wants_json else _tell(item))
    if isinstance(found, int):
        return found
    return _show_summary(found, wants_json=wants_json)


def _tell(item: Disbursement) -> None:
    screen.say(f"disbursement {item.id}: {item.status}")


def _show_summary(found: "Summary", *, wants_json: bool) -> int:
    rows = [
        {
            "id": line.item.id,
            "status": line.item.status,
            "amount": line.item.amount,
            "destination": line.item.destination,
            "payments_on_chain": line.payments,
            "paid_once": line.fine,
            "tx_hash": line.item.tx_hash,
        }
        for line in found.lines
    ]
    if wants_json:
        screen.as_json(
            {"items": rows, "strangers": found.strangers, "seconds": found.seconds, "fine": found.fine}
        )
    else:
        columns = ("id", "status", "amount", "destination", "payments_on_chain", "tx_hash")
        screen.say("")
        screen.table("", columns, [[screen.cell(row[name], limit=64) for name in columns] for row in rows])
        paid = sum(line.fine for line in found.lines)
        strange = f"; {found.strangers} transactions that nobody asked for" if found.strangers else ""
        screen.say("")
        screen.say(f"{paid} of {len(rows)} paid exactly once{strange}, in {found.seconds:.1f} s.")
    return Exit.DONE if found.fine else Exit.NOT_ALL


@click.group()
def keys() -> None:
    """Keys of paying accounts and of voters: generate, show."""


@keys.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--credential", type=click.Path(path_type=Path), help="File that unlocks it; made where it is missing."
)
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase instead.")
@config_file
@as_json
def generate(
    *, path: Path | None, credential: Path | None, passphrase: bool, config: Path | None, wants_json: bool
) -> int:
    """Generate FILE, or without FILE the missing keys of all configured accounts."""
    from treasuryd.signer import keys as key_files  # noqa: PLC0415 - see above

    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = secret_of(path, credential, ask=passphrase, confirm=True)
        return _show_keys([("", path, key_files.generate(path, secret).public.hex())], wants_json=wants_json)
    settings = load_settings(config, {})
    folder = settings.signer_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = {account: file for account, file in settings.key_files.items() if not file.exists()}
    if not missing:
        raise Failure(
            Exit.NOT_ALL, "every configured account has its key already", hint="`treasuryd keys show`"
        )
    place = credential or key_files.find_secret(settings.signer.credential_file, os.environ, folder=folder)[0]
    secret = secret_of(place, place, ask=passphrase, confirm=True)
    made = [
        (account, file, key_files.generate(file, secret).public.hex()) for account, file in missing.items()
    ]
    return _show_keys(made, wants_json=wants_json)


@keys.command("show")
@click.argument("paths", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--credential", type=click.Path(path_type=Path), help="File that unlocks them.")
@click.option("--passphrase", is_flag=True, help="Ask for the passphrase instead.")
@config_file
@as_json
def show_keys(
    *,
    paths: tuple[Path, ...],
    credential: Path | None,
    passphrase: bool,
    config: Path | None,
    wants_json: bool,
) -> int:
    """Show the public keys of files, or of all configured accounts; never the private half."""
    from treasuryd.signer import keys as key_files  # noqa: PLC0415 - see above

    files = [("", path) for path in paths]
    if not paths:
        settings = load_settings(config, {})
        files = [(str(account), file) for account, file in settings.key_files.items()]
        named = settings.signer.credential_file
        place = key_files.find_secret(named, os.environ, folder=settings.signer_folder)[0]
        credential = credential or place
    found = [
        (account, file, key_files.load(file, secret_of(file, credential, ask=passphrase, confirm=False)))
        for account, file in files
    ]
    return _show_keys(
        [(account, file, key.public.hex()) for account, file, key in found], wants_json=wants_json
    )


def _show_keys(rows: Sequence[tuple[str, Path, str]], *, wants_json: bool) -> int:
    if wants_json:
        listed = [
            {"account": account or None, "file": str(file), "public_key": key} for account, file, key in rows
        ]
        screen.as_json({"items": listed})
    else:
        for account, file, key in rows:
            screen.pairs({"account": account, "file": screen.cell(file, limit=4_096), "public key": key})
    return Exit.DONE


@click.group()
def config() -> None:
    """The configuration: check it, show what counts."""


@config.command()
@settings_flags
@click.option("--files", is_flag=True, help="Look at folders, databases, token and key files, too.")
def check(*, config: Path | None, files: bool, **chosen: Any) -> int:
    """
    Check file, environment and flags, as `run` would; every mistake is named.

    With --files also what they name, as the user that asks: nothing is made or changed. What is in the databases is not
    read, and no node is called.
    """
    from treasuryd.main import compose, preflight  # noqa: PLC0415 - see above

    settings = load_settings(config, flags_of(**chosen))
    try:
        compose.check(settings)
        untried = preflight.preflight(settings) if files else ""
    except Rejected as error:
        raise of_error(error, rejected=Exit.CONFIGURATION) from error
    screen.say("the configuration and its files are in order." if files else "the configuration is in order.")
    if untried:
        screen.say(untried)
    return Exit.DONE


@config.command("show")
@settings_flags
@as_json
def show_config(*, config: Path | None, wants_json: bool, **chosen: Any) -> int:
    """Show every setting as it counts, file, environment and flags together; secrets are masked."""
    shown = load_settings(config, flags_of(**chosen)).shown()
    if wants_json:
        screen.as_json(shown)
    else:
        for name, value in _flat(shown):
            screen.say(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return Exit.DONE


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{above}{name}.")
        else:
            rows.append((f"{above}{name}", value))
    return rows


COMMANDS: Final = (run, devnet, demo, keys, config)
