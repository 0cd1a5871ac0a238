"""The models, searched to the end: what has to hold holds, and without a rule the property it guards is broken."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest
from tests.evidence.record import FOLDER
from tests.model.figures import table
from tests.model.spin import MODELS, Search, Variant, search
from tests.model.variants import FAIL, HOLD, WIDER

PAGE = Path(__file__).parents[2] / "docs" / "model.md"
AT_ONCE = 2
needs_spin = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("spin", "gcc")) and "CI" not in os.environ,
    reason="spin or gcc is not installed (.ci/debian-packages)",
)

Searched = Callable[[Variant], Search]


@pytest.fixture(scope="module")
def searched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    """Searches of the variants that this run selected, two at a time; a test waits for its own."""
    started: dict[str, Future[Search]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def start(variant: Variant) -> Future[Search]:
            if variant.name not in started:
                folder = tmp_path_factory.mktemp("spin")
                started[variant.name] = pool.submit(search, variant, folder, quickly=variant in FAIL)
            return started[variant.name]

        if "PYTEST_XDIST_WORKER" not in os.environ:  # there every worker knows all tests and runs a few
            for item in request.session.items:
                wanted = getattr(item, "callspec", None)
                if wanted is not None and isinstance(variant := wanted.params.get("variant"), Variant):
                    start(variant)
        yield lambda variant: start(variant).result()
        for future in started.values():
            future.cancel()


@needs_spin
@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", HOLD, ids=lambda variant: variant.name)
def test_the_protocol_holds_on_every_path(variant: Variant, searched: Searched) -> None:
    found = searched(variant)
    assert found.complete, found.output
    assert not found.unbounded, found.unbounded
    assert not found.broken, found.output


@needs_spin
@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", FAIL, ids=lambda variant: variant.name)
def test_without_a_rule_its_property_breaks(variant: Variant, searched: Searched) -> None:
    found = searched(variant)
    assert not found.unbounded, found.unbounded
    assert found.broken, found.output


@needs_spin
@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", ["payment", "cancel", "restore", "foreign"])
def test_no_statement_of_a_model_is_dead(model: str, searched: Searched) -> None:
    """A model whose steps cannot happen proves nothing."""
    runs = [searched(variant).unreached for variant in HOLD if variant.model == model]
    dead = frozenset.intersection(*runs)
    assert not dead, "mark what only a broken variant reaches as `broken only`"


def test_every_switch_and_property_of_the_models_is_used() -> None:
    used = {(variant.model, switch) for variant in (*HOLD, *FAIL) for switch in variant.switches}
    said = {(variant.model, variant.says) for variant in (*HOLD, *FAIL)}
    for file in MODELS.glob("*.pml"):
        text = file.read_text(encoding="utf-8")
        switches = set(re.findall(r"#\s*if(?:n?def| defined\() ?(\w+)", text)) | set(
            re.findall(r"defined\((\w+)\)", text)
        )
        bounds = set(re.findall(r"#ifndef (\w+)\n#define \1 ", text))
        assert {(file.stem, switch) for switch in switches - bounds} == {u for u in used if u[0] == file.stem}
        whole = re.search(r"ltl safe \{ \[\] \((.*)\) \}", text)
        assert whole
        for name in re.findall(r"^ltl (\w+) ", text, re.MULTILINE):
            part = re.sub(r"\W", "", name).upper()
            assert (file.stem, name) in said or part in whole[1].split(" && "), f"{file.stem}: {name}"


def test_the_page_names_only_modules_that_exist() -> None:
    named = set(
        re.findall(r"`((?:core|store|signer|executor|chain|commands|main)/[\w/]+)\.py`", PAGE.read_text())
    )
    assert len(named) > 15
    for name in named:
        assert find_spec(f"treasuryd.{name.replace('/', '.')}"), name


def test_the_page_shows_the_figures_of_the_recorded_run() -> None:
    figures = orjson.loads((FOLDER / "model.json").read_bytes())["figures"]
    assert table(figures) in PAGE.read_text(encoding="utf-8")
    assert {row["name"] for row in figures["searches"]} == {v.name for v in (*HOLD, *WIDER, *FAIL)}
