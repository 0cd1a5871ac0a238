"""
`treasuryd vote`: shows what is approved, signs it on this machine, posts it.

The digest that is signed is computed here from the content that is shown, and compared with the daemon's: a daemon that
shows one payment and has another one signed is found out.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from treasuryd.cli import screen
from treasuryd.cli.client import path_of
from treasuryd.cli.failures import Failure
from treasuryd.cli.keyfiles import open_key
from treasuryd.cli.shared import daemon, item_id
from treasuryd.core.model import Decision, Digest, DisbursementId
from treasuryd.core.proposals import vote_message
from treasuryd.core.staging import PAYLOAD_VERSION, digest_of
from treasuryd.errors import Exit

SIGNED_FIELDS: Final = (
    "account",
    "amount",
    "depends_on",
    "destination",
    "expected_receipts",
    "memo",
    "proposal",
    "scheduled_epoch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What is signed: which disbursement on which chain, for the how many-th time, and what is said of it."""

    item: int
    digest: Digest
    chain_id: int
    counter: int
    decision: Decision

    @property
    def message(self) -> bytes:
        """The bytes under the signature."""
        return vote_message(
            chain_id=self.chain_id,
            disbursement_id=DisbursementId(self.item),
            digest=self.digest,
            counter=self.counter,
            decision=self.decision,
        )


@click.command()
@item_id
@click.option(
    "--house", type=click.Choice(["operators", "builders"]), required=True, help="The house you vote in."
)
@click.option("--approve", "decision", flag_value="approve", help="Vote for it.")
@click.option("--reject", "decision", flag_value="reject", help="Vote against it.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Your encrypted key.")
@click.option(
    "--credential",
    type=click.Path(path_type=Path),
    help="File that unlocks it; default: `credential` beside it.",
)
@click.option("--passphrase", is_flag=True, help="Ask for the passphrase that unlocks it instead.")
@click.option("--offline", is_flag=True, help="Print the message to sign elsewhere and take the signature.")
@click.option("--public-key", help="With --offline: your public key, 64 hex digits.")
@click.option("--signature", help="With --offline: the signature, 128 hex digits.")
@click.option("--counter", type=click.IntRange(0, 2**32 - 1), help="By default one above your last vote.")
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
def vote(  # noqa: PLR0913 - one argument for each option
    *,
    item: int,
    house: str,
    decision: str | None,
    key_file: Path | None,
    credential: Path | None,
    passphrase: bool,
    offline: bool,
    public_key: str | None,
    signature: str | None,
    counter: int | None,
    yes: bool,
) -> int:
    """Vote on a disbursement: shows it, signs with your key, posts the signature."""
    if decision is None:
        raise click.UsageError("say --approve or --reject")
    if offline and public_key is None:
        raise click.UsageError("--offline needs --public-key")
    if not offline and key_file is None:
        raise click.UsageError("name your key with --key-file, or use --offline")
    target = daemon()
    found = target.get(path_of("treasury", "disbursements", item))
    ballot = target.get(path_of("treasury", "disbursements", item, "votes"))
    key = None if key_file is None or offline else open_key(key_file, credential, ask=passphrase)
    public = public_key if key is None else key.public.hex()
    paper = Paper(
        item=item,
        digest=checked_digest(found),
        chain_id=ballot["chain_id"],
        counter=next_counter(ballot, public) if counter is None else counter,
        decision=Decision(decision),
    )
    _show(found, paper)
    if key is None:
        signature = signature or _ask_for_signature(paper)
        if not signature:
            return Exit.DONE
    else:
        if not yes:
            click.confirm(f"Sign this {decision}?", abort=True, err=True)
        signature = key.sign(paper.message).hex()
    body = {
        "house": house,
        "key": public,
        "counter": paper.counter,
        "decision": decision,
        "signature": signature,
    }
    after = target.send("POST", path_of("treasury", "disbursements", item, "votes"), body)
    columns = ("house", "approving", "weight", "quorum_ppm", "met")
    rows = [[*(row[name] for name in columns[:-1]), "yes" if row["met"] else "no"] for row in after["houses"]]
    screen.table("the vote was taken", columns, rows)
    return Exit.DONE


def checked_digest(found: Any) -> Digest:
    """The digest of what was shown; a daemon that names another one is not believed."""
    digest = digest_of({"v": PAYLOAD_VERSION, **{name: found[name] for name in SIGNED_FIELDS}})
    if digest != found["payload_digest"]:
        raise Failure(
            Exit.REFUSED,
            f"the daemon names digest {found['payload_digest']} for disbursement {found['id']}, what it shows has {digest}",
            hint="Nothing was signed. Daemon and command line may be of different versions; otherwise ask its operator.",
        )
    return digest


def next_counter(ballot: Any, public: str | None) -> int:
    """One above the key's last vote."""
    return 1 + max((vote["counter"] for vote in ballot["votes"] if vote["key"] == public), default=-1)


def _show(found: Any, paper: Paper) -> None:
    proposal = found["proposal"] or {}
    screen.pairs(
        {
            "disbursement": found["id"],
            "status": found["status"],
            "pays": f"{found['amount']} base units",
            "to": found["destination"],
            "from": found["account"],
            "memo": found["memo"],
            "scheduled epoch": found["scheduled_epoch"],
            "depends on": ", ".join(str(one) for one in found["depends_on"]),
            "title": proposal.get("title"),
            "summary": proposal.get("summary"),
            "digest": paper.digest,
            "chain": paper.chain_id,
            "counter": paper.counter,
            "vote": paper.decision,
        }
    )


def _ask_for_signature(paper: Paper) -> str:
    screen.say(f"message to sign (hex): {paper.message.hex()}")
    if not sys.stdin.isatty():
        screen.say("Sign it with your Ed25519 key, then call again with --signature.")
        return ""
    return str(click.prompt("signature (hex, empty to stop)", default="", show_default=False))


COMMANDS: Final = (vote,)
