"""How the commands print: tables and JSON on stdout, messages on stderr."""

import json
import shutil
import sys
from collections.abc import Iterable
from typing import Any

_GAP = 3  # blanks between columns, and as many before and after all of them
_NARROW = 16  # characters that a column of text keeps where a table is too wide
_LONG = 30  # characters from which a cell is text that may wrap, and no number


def print_table(columns: tuple[str, ...], rows: list[Any]) -> None:
    """A table on stdout. Where it is too wide for the terminal, text wraps, and further columns follow below."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[str(cell) for cell in row] for row in rows]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for block in _blocks(columns, cells, room):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i, width in block.items():
            table.add_column(Text(columns[i]), justify="right" if i else "left", width=width, overflow="fold")
        for row in cells:
            table.add_row(*(Text(row[i]) for i in block))
        Console(width=_width(block.values()), highlight=False).print(table)


def _blocks(columns: tuple[str, ...], cells: list[list[str]], room: int | None) -> list[dict[int, int]]:
    """Column -> its width, for each of the tables that stand one below the other.

    Each begins with the columns that tell the rows apart. No cell that may be a number is made narrower than it is.
    """
    wide, least = {}, {}
    for i, name in enumerate(columns):
        longest = max((len(row[i]) for row in cells), default=0)
        wide[i] = max(len(name), longest)
        is_text = i == 0 or longest > _LONG
        heading = min(_NARROW, max(map(len, name.split() or [""])))
        least[i] = max(heading, min(longest, _NARROW) if is_text else longest)
    if room is None or _width(wide.values()) <= room:
        return [wide]
    first = _telling(cells)
    blocks = [first]
    for i in range(len(first), len(columns)):
        if blocks[-1] != first and _width(least[j] for j in (*blocks[-1], i)) > room:
            blocks.append(first)
        blocks[-1] = [*blocks[-1], i]
    return [_shared({i: least[i] for i in block}, wide, room) for block in blocks]


def _width(columns: Iterable[int]) -> int:
    """The width of a table whose columns have these widths."""
    return sum(width + _GAP for width in columns)


def _telling(cells: list[list[str]]) -> list[int]:
    """The first column, and the next where the first does not tell the rows apart."""
    return [0] if len({row[0] for row in cells}) == len(cells) or len(cells[0]) < 3 else [0, 1]


def _shared(widths: dict[int, int], wide: dict[int, int], room: int) -> dict[int, int]:
    """The widths of one table, with what room there is left given to its columns from the left."""
    left = room - _width(widths.values())
    for i in widths:
        more = max(0, min(wide[i] - widths[i], left))
        widths[i], left = widths[i] + more, left - more
    return widths


def print_json(value: Any) -> None:
    """A value as JSON on stdout."""
    print(json.dumps(value, indent=1, default=str))


def number(value: float | None) -> str:
    """A measure with three digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def sentence(note: str) -> str:
    """A note as a sentence: a capital at the beginning, a full stop at the end."""
    return f"{note[0].upper()}{note[1:]}."


def say(text: str) -> None:
    """A message on stderr."""
    print(text, file=sys.stderr)
