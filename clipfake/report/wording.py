"""How numbers, and the texts of strangers, are put into a page: escaped, visible, bounded; and the template library."""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clipfake.measures.intervals import wilson
from clipfake.storage import uri as uris

LONGEST = 600  # characters of a name that are shown
# Control, format (bidirectional too), private, surrogate and unassigned characters, line and paragraph separators.
_INVISIBLE = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Everything that is put in is escaped; a name that is missing is an error."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("clipfake.report", folder) for folder in ("templates", "sections")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "name": name,
        "visible": visible,
        "base": base,
        "place": lambda uri: name(uris.shown(uri)),
        "moment": lambda time: visible(str(time)[:16].replace("T", " ")),
        "count": lambda n: "–" if n is None else f"{n:,}",
        "share": share,
        "flagged": flagged_share,
        "between": between,
        "number": lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}",
    }
    made.filters |= filters
    return made


def visible(text: object) -> str:
    """The text with every character that does not show, or that turns others around, as its code."""
    return "".join(
        c if unicodedata.category(c) not in _INVISIBLE else f"⟨{ord(c):04X}⟩" for c in _cut(str(text), LONGEST)
    )


def name(text: object) -> Markup:
    """A stranger's text: escaped, visible, of bounded length, and turned by nothing around it."""
    return Markup("<bdi>{}</bdi>").format(visible(text))


def base(item: Mapping[str, Any]) -> str:
    """The last part of an item's name."""
    whole = uris.shown(item["uri"]) if item["member"] is None else item["member"]
    return visible(_cut(whole.rstrip("/").rpartition("/")[2], 90))


def share(value: float | None) -> str:
    """A share in percent, with as many digits as a small one needs."""
    if value is None:
        return "–"
    percent = 100 * value
    digits = 0 if abs(percent - round(percent)) < 1e-9 else 1 if 1 <= percent <= 99 else 2 if percent >= 0.1 else 3
    return f"{percent:.{digits}f}\u202f%"  # a narrow space that does not break


def flagged_share(tally: Mapping[str, Any]) -> dict[str, float | None]:
    """The share flagged of what was scored, with its 95 % Wilson interval."""
    low, high = wilson(tally["flagged"], tally["scored"])
    return {"value": tally["flagged"] / tally["scored"] if tally["scored"] else None, "low": low, "high": high}


def between(found: Mapping[str, Any] | None) -> str:
    """`value` with its interval `low` to `high`, all shares."""
    if found is None or found["low"] is None:
        return "–"
    ends = f"{share(found['low'])[:-2]}–{share(found['high'])}"
    return ends if found["value"] is None else f"{share(found['value'])} ({ends})"


def _cut(text: str, longest: int) -> str:
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
