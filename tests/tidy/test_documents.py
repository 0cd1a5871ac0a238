"""The documents tell the truth: their links, commands, settings, metrics, files, tests and alarms exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel

from treasuryd.cli.root import cli
from treasuryd.core.events import EventKind
from treasuryd.core.model import FreezeCause, Hold
from treasuryd.errors import Exit
from treasuryd.settings import Settings
from treasuryd.telemetry.registry import ALL, BY_SAMPLE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MANUAL = [path for path in PAGES if path.name in {"README.md", "operations.md"} or "runbooks" in path.parts]
NOT_YET = {"evm.py", "remote.py"}  # architecture.md marks them (later)
TEXT = {path: path.read_text(encoding="utf-8") for path in PAGES}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def every(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [pytest.param(page, id=named(page)) for page in pages])


def outside_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", outside_blocks(text))


def test_there_are_pages_to_look_at() -> None:
    """A test over nothing would pass for ever."""
    assert {"README.md", "CHANGELOG.md", "docs/operations.md", "docs/runbooks/breaker.md"} <= {
        named(page) for page in PAGES
    }


# --- links -----------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6}\s+(.+)$", outside_blocks(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every(PAGES)
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading in it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_blocks(TEXT[page])):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        missing = not found.exists() or not found.is_relative_to(ROOT)
        if missing or (anchor and anchor not in anchors(found.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


@every(PAGES)
def test_no_page_names_a_machine(page: Path) -> None:
    """Neither somebody's folders nor hosts."""
    pattern = r"(?<![\w.~])/(?:tmp|work|root|home|Users|opt)\b|\b[\w.-]+@[\w-]+\.\w|\b10\.\d+\.\d+\.\d+|\b192\.168\."
    assert re.findall(pattern, TEXT[page]) == []


# --- commands --------------------------------------------------------------------------------------------


def console_commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `treasuryd …` that a console block shows as typed."""
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield from calls_in(line[2:])


def calls_in(line: str) -> Iterator[list[str]]:
    """The arguments of each simple command of a shell line whose program is ours."""
    command: list[str] = []
    for word in [*shell_words(line), ";"]:
        if not set(word) <= set("|&;<>()"):
            command.append(word)
            continue
        if command and command[0].rpartition("/")[2] == "treasuryd":
            yield command[1:]
        command = []


def shell_words(line: str) -> list[str]:
    lexer = shlex.shlex(line.replace("…", "x"), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def inline_commands(text: str) -> Iterator[list[str]]:
    """The arguments of each command in backticks; placeholders in capitals stand for a value."""
    for snippet in in_backticks(text):
        if snippet.startswith("treasuryd ") and not re.search(r"[{}\[]", snippet):
            words = shell_words(snippet)[1:]
            yield [PLACEHOLDERS.get(word, word) for word in words]


PLACEHOLDERS = {"ID": "1", "FILE": "x.json", "FOLDER": "x", "ACCOUNT": "treasury", "NODE": "local", "x": "1"}


def complaint(arguments: list[str], *, partial: bool) -> str | None:
    """What the real command line says against these arguments; None when it would run them."""
    context: click.Context | None = None
    command: click.Command = cli
    rest = list(arguments)
    try:
        while True:
            context = command.make_context(command.name or "treasuryd", rest, parent=context)
            if not isinstance(command, click.Group):
                return None
            rest = [*context._protected_args, *context.args]
            if not rest:
                return None
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command = found
    except click.exceptions.Exit:
        return None  # --help, --version
    except click.exceptions.NoArgsIsHelpError:
        return None if partial else "nothing is asked for"
    except click.MissingParameter as error:
        return None if partial else error.format_message()
    except click.UsageError as error:
        return error.format_message()


@every(MANUAL)
def test_each_command_that_is_shown_parses(page: Path) -> None:
    """By the real command line: every option, choice and argument."""
    wrong = [
        (" ".join(arguments), said)
        for arguments in console_commands(TEXT[page])
        if (said := complaint(arguments, partial=False)) is not None
    ]
    assert wrong == []


@every(PAGES)
def test_each_command_that_is_mentioned_exists(page: Path) -> None:
    """In a sentence a command may be named without all it needs."""
    wrong = [
        (" ".join(arguments), said)
        for arguments in inline_commands(TEXT[page])
        if (said := complaint(arguments, partial=True)) is not None
    ]
    assert wrong == []


def test_a_wrong_command_is_found() -> None:
    """The check itself looks."""
    assert complaint(["submit", "x.json", "--dryrun"], partial=True) is not None
    assert complaint(["lease", "show"], partial=True) is not None
    assert complaint(["cancel", "1"], partial=False) is not None
    assert list(calls_in("(umask 077; treasuryd keys show a) && ~/x/treasuryd list | head")) == [
        ["keys", "show", "a"],
        ["list"],
    ]


def test_the_manual_shows_the_commands_that_matter() -> None:
    """Each command of the command line is somewhere in the manual."""
    shown = {
        words[0]
        for page in MANUAL
        for words in (*console_commands(TEXT[page]), *inline_commands(TEXT[page]))
        if words
    }
    assert set(cli.commands) - shown <= {"devnet"}


def test_the_exit_codes_are_those_of_the_program() -> None:
    """The README's table, row by row."""
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT[ROOT / "README.md"], flags=re.MULTILINE)}
    assert table == {int(code) for code in Exit} - {130}


# --- settings, metrics, words -----------------------------------------------------------------------------


def settings_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield above + name
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            yield from settings_of(below, f"{above}{name}.")


@every(PAGES)
def test_each_setting_that_is_named_exists(page: Path) -> None:
    """`section.name` in backticks, and `TREASURYD_…` variables."""
    known = set(settings_of(Settings))
    sections = {name.partition(".")[0] for name in known if "." in name}
    unknown = []
    for snippet in in_backticks(TEXT[page]):
        name = re.match(r"(?:--set )?([a-z_]+(?:\.[a-z_]+)+)(?= ?=|$)", snippet)
        if (
            name
            and name[1].partition(".")[0] in sections
            and not re.search(r"\.(py|md|toml|db|log)$", name[1])
        ):
            unknown += [name[1]] if name[1] not in known else []
        for variable in re.findall(r"TREASURYD_([A-Z_]+)\b", snippet):
            if (
                variable not in {"CONFIG", "URL", "TOKEN_FILE"}
                and variable.lower().replace("__", ".") not in known
            ):
                unknown.append(variable)
    assert unknown == []


def test_each_metric_that_is_named_exists() -> None:
    """In the registry, which is held against what is exported; histograms by their name, or by one of their series."""
    known = set(BY_SAMPLE) | {family.name for family in ALL} | {family.base for family in ALL}
    wanted = {
        (named(page), name)
        for page in PAGES
        for name in re.findall(r"\b(?:treasury|governance)_[a-z_]+(?:_total|_seconds|\b)", TEXT[page])
        if not name.endswith("_")
    }
    assert len(wanted) > 20
    assert sorted(item for item in wanted if item[1] not in known) == []


def test_each_alert_that_is_named_exists() -> None:
    """Words in backticks that look like an alert of a team; the sections themselves: tests/ops/test_runbooks.py."""
    groups = yaml.safe_load((ROOT / "monitoring" / "alert_rules.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    pattern = r"`((?:Treasury|Energy|Oracle|Storage|Receipts|SystemHealth|Backup)[A-Z][A-Za-z]+)`"
    mentioned = {name for page in PAGES for name in re.findall(pattern, TEXT[page])}
    assert len(mentioned) > 50
    assert mentioned - alerts == set()


def test_the_words_of_holds_causes_and_facts_are_the_programs() -> None:
    """Each hold is explained to operators; causes of a freeze and kinds of pages exist."""
    manual, runbooks = TEXT[ROOT / "docs" / "operations.md"], ROOT / "docs" / "runbooks"
    assert {hold for hold in Hold if f"`{hold}`" not in manual} == set()
    frozen = TEXT[runbooks / "frozen-account.md"]
    assert {cause for cause in FreezeCause if f"`{cause}`" not in frozen} == set()
    pages = TEXT[runbooks / "README.md"].partition("| kind of a page |")[2]
    kinds = {row.split("|")[1] for row in pages.splitlines() if row.startswith("| `")}
    first = {word for kind in kinds for word in re.findall(r"`(\w+)`", kind.partition(" with ")[0])}
    assert first <= set(EventKind)


# --- files and tests --------------------------------------------------------------------------------------


def is_there(name: str) -> bool:
    places = (ROOT, ROOT / "daemon" / "treasuryd", ROOT / "docs", ROOT / "daemon")
    return any((place / name).exists() for place in places)


@every([page for page in PAGES if page.name != "style.md"])
def test_each_file_that_is_named_exists(page: Path) -> None:
    """Paths with a folder in backticks; style.md names files of other projects."""
    pattern = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|toml|yml|md|sql|json|csv|service|plist|conf|sh)")
    wanted = {name for snippet in in_backticks(TEXT[page]) for name in pattern.findall(snippet)}
    skip = {"NNNN"}
    missing = {
        name
        for name in wanted
        if not is_there(name)
        and not (page.parent / name).exists()
        and not skip & set(re.split(r"[/_.-]", name))
    }
    assert {
        name for name in missing if not name.startswith(("etc/", "state/", "voters/", "systemd/system"))
    } == set()


def test_the_map_names_only_what_is_there() -> None:
    """The tree in architecture.md, module by module, and every package of the program."""
    tree = TEXT[ROOT / "docs" / "architecture.md"].partition("```\n")[2].partition("```")[0]
    present = {path.name for folder in ("daemon", "tests", "tools") for path in (ROOT / folder).rglob("*.py")}
    assert set(re.findall(r"\b\w+\.py\b", tree)) - present - NOT_YET == set()
    packages = {path.parent.name for path in (ROOT / "daemon" / "treasuryd").glob("*/__init__.py")}
    assert {name for name in packages if f"{name}/" not in tree} == set()


def test_the_promise_is_shown_by_tests_that_exist() -> None:
    """The README's table: each file of code, each test file, each test by its sentence."""
    table = TEXT[ROOT / "README.md"].partition("| rule | kept by | shown by |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:4] for row in table.splitlines() if row.startswith("| ") and "---" not in row]
    assert len(rows) > 10
    for _, _, shown in rows:
        file, _, sentence = shown.strip().partition("`: ")
        source = (ROOT / file.strip("`")).read_text(encoding="utf-8")
        assert not sentence or f"def test_{sentence.strip().replace(' ', '_')}(" in source, sentence
