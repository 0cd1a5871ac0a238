"""How one setting is declared: its default with unit, range and reason, and the few types that settings have."""

from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from treasuryd.core import urls
from treasuryd.core.model import MAX_AMOUNT, MAX_PPM

DAY: Final = 86_400


def setting(
    default: object,
    text: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    reload: bool = False,
) -> Any:
    """
    Declare one setting.

    Args: default; text (what it does and why this default); unit; the range, both ends included; reload (whether
        SIGHUP may change it while the daemon runs).
    Returns: the field; its description starts with unit and range, so that file and class cannot disagree.
    """
    span = f"{_plain(at_least)} to {_plain(at_most)}" if at_least is not None and at_most is not None else ""
    head = ", ".join(part for part in (unit, span) if part)
    description = f"{head[:1].upper()}{head[1:]}. {text}" if head else text
    return Field(
        default, description=description, ge=at_least, le=at_most, json_schema_extra={"reload": reload}
    )


def _plain(number: float | None) -> str:
    if number == MAX_AMOUNT:
        return "2^63-1"
    assert number is not None
    return f"{number:,.0f}" if number == int(number) else f"{number:.6f}".rstrip("0")


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "a boolean where a number stands")
    return value


def _optional_path(value: object) -> object:
    return None if value == "" else value


def _url(value: object, *, path: bool = False) -> object:
    fault = urls.fault_of(value, path=path) if isinstance(value, str) else None
    if fault is not None:
        raise PydanticCustomError("url", "{fault}. {instead}", {"fault": fault, "instead": urls.INSTEAD})
    return value


def _optional_url(value: object) -> object:
    return value if value == "" else _url(value)


def _optional_place(value: object) -> object:
    return value if value == "" else _url(value, path=True)


Whole: TypeAlias = Annotated[int, BeforeValidator(_no_boolean)]
Number: TypeAlias = Annotated[float, BeforeValidator(_no_boolean)]
Amount: TypeAlias = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=MAX_AMOUNT)]
Share: TypeAlias = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=MAX_PPM)]
OptionalPath: TypeAlias = Annotated[Path | None, BeforeValidator(_optional_path)]
HttpUrl: TypeAlias = Annotated[str, BeforeValidator(_url)]
OptionalUrl: TypeAlias = Annotated[str, BeforeValidator(_optional_url)]
OptionalPlace: TypeAlias = Annotated[str, BeforeValidator(_optional_place)]
HexKey: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\S+$")]


def require(true: bool, complaint: str) -> None:  # noqa: FBT001 - an assertion reads best this way
    """Complain unless something holds; pydantic turns the complaint into one about the section."""
    if not true:
        raise PydanticCustomError("rule", "{complaint}", {"complaint": complaint})
