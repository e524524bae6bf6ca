"""The sections of a report's page: NAME.py has the query, what is drawn and the doubts, NAME.html.j2 the template part.

A new section is these two files; `order` is its place on the page.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from clipfake.report.tallies import Question

BAD, CARE, GOOD = "bad", "care", "good"
Found = Mapping[str, Any]  # of `clipfake.report.report.summarise`
Doubt = tuple[str, str]  # BAD, CARE or GOOD, and a plain sentence: what speaks against or for the verdicts


@dataclass(frozen=True)
class Section:
    """A section of the page.

    name : its anchor, and NAME.html.j2 its template; link : its name in the list at the top
    query : what it counts of the rows, JSON values that become part of Found; draw : what its template needs beside
    doubts : what it says about whether the verdicts may be trusted; there : whether the page has it
    """

    name: str
    link: str
    order: int
    query: Callable[[Question], dict[str, Any]] = lambda question: {}
    draw: Callable[[Found], dict[str, Any]] = lambda found: {}
    doubts: Callable[[Found], Iterable[Doubt]] = lambda found: ()
    there: Callable[[Found], bool] = lambda found: True


@cache
def sections() -> tuple[Section, ...]:
    """All sections, in their order on the page."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return tuple(sorted((module.SECTION for module in modules), key=lambda section: section.order))
