"""
Run proofs in a process of their own, one after the other: `python -m tests.evidence.removal ROW …`.

Each is a whole run of pytest with its bug planted; the imports are shared, which is most of what a run costs. Prints one
line of JSON per row: whether the test failed as it has to, and what was said where it did not.
"""

import contextlib
import io
import re
import sys
from dataclasses import dataclass

import orjson
import pytest
from tests.evidence.rules import PROOFS, Proof

OPTIONS = ("-p", "no:cacheprovider", "-q", "-x", "--no-header", "--tb=line")
BY_A_PROMISE = ("AssertionError", "assert ", "Failed: ")
FAILED = pytest.ExitCode.TESTS_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of one test without its rule; `said` is what speaks against the proof, empty for nothing."""

    row: str
    how: str
    said: str


def run(proof: Proof) -> Run:
    """Run a test with its rule removed: it has to fail, by an assertion or by the time that it waits in vain."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        code = pytest.main([*OPTIONS, "--plant", proof.bug, proof.test])
    text = heard.getvalue()
    # the test itself, not what is looked at when it is over; and its own assertion, not one inside the product
    failures = text.partition("= FAILURES =")[2]
    told = re.search(r"^\S*/tests/\S+:\d+: (.*)$", failures, flags=re.MULTILINE)
    how = told[1] if told else ""
    said = ""
    if code == pytest.ExitCode.OK:
        said = f"{proof.test} does not notice {proof.bug}"
    elif code != FAILED or "ERROR at setup" in text or not how.startswith(BY_A_PROMISE):
        said = f"{proof.bug} fell over, which proves nothing: {text[-1_500:]}"
    return Run(row=proof.row.name, how=how, said=said)


def main() -> int:
    """Prove the rows that are named, or all; answers 1 when one was not proved."""
    wanted = sys.argv[1:]
    runs = [run(proof) for proof in PROOFS if not wanted or proof.row.name in wanted]
    for each in runs:
        print(
            orjson.dumps(
                {"row": each.row, "proved": not each.said, "how": each.how, "said": each.said}
            ).decode()
        )
    return int(any(each.said for each in runs))


if __name__ == "__main__":
    sys.exit(main())
