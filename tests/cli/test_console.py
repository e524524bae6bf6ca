"""Tables fit the terminal: text wraps, columns go on below, and no number is ever cut."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.cli.console import _blocks, _width, number, print_json, print_table

COLUMNS = ("part", "model", "n", "acc", "95% low", "high", "bal acc", "AUC", "AP", "TPR@5%FPR")
ROWS = [
    ("train", "the detector", 1_234_567, *(f"0.{i}{i}1" for i in range(7))),
    ("train", "raw linear SVM", 12, *(f"0.{i}{i}2" for i in range(7))),
]


@pytest.mark.parametrize("room", [40, 60, 80, 120])
def test_every_number_is_whole_on_a_terminal_of_any_width(monkeypatch, capsys, room):
    monkeypatch.setenv("COLUMNS", str(room))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(COLUMNS, ROWS)
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= room
    assert "…" not in printed
    for row in ROWS:
        assert all(str(cell) in printed for cell in row), printed
    assert printed.count("the detector") == printed.count("raw linear SVM") == printed.count("part ")


def test_what_is_piped_is_one_table_however_wide(capsys):
    print_table(("name", "place"), [("one", "x" * 300)])
    assert "x" * 300 in capsys.readouterr().out


@given(
    st.lists(st.text("ab 1.%", min_size=1, max_size=40), min_size=1, max_size=12).flatmap(
        lambda names: st.tuples(
            st.just(tuple(names)),
            st.lists(
                st.lists(st.text("0123456789.", max_size=20), min_size=len(names), max_size=len(names)), max_size=4
            ),
        )
    ),
    st.integers(70, 200),
)
def test_blocks_have_every_column_fit_and_keep_numbers_whole(table, room):
    columns, cells = table
    blocks = _blocks(columns, cells, room)
    assert {i for block in blocks for i in block} == set(range(len(columns)))
    for block in blocks:
        assert _width(block.values()) <= room
        assert all(block[i] >= len(row[i]) for row in cells for i in block if i > 0)


def test_an_empty_table_and_a_missing_number(capsys):
    print_table(("a", "b"), [])
    print_json({"a": [1]})
    assert '{\n "a": [\n  1\n ]\n}' in capsys.readouterr().out
    assert (number(None), number(0.12345)) == ("-", "0.123")
