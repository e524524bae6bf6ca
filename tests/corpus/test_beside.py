"""What is in containers comes in their order, whichever is opened first; nothing is read far ahead."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus import beside
from clipfake.corpus.beside import CONTAINERS, flattened
from clipfake.corpus.tally import Tally


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 3))
def test_order_and_all_of_it(lengths: list[int], ahead: int) -> None:
    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        return iter([(one, i) for i in range(lengths[one])])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside, "AHEAD", ahead)
        found = list(flattened(items, range(len(lengths)), Tally()))
    assert found == [(one, i) for one, length in enumerate(lengths) for i in range(length)]


def test_they_are_opened_beside_one_another_and_a_container_without_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beside, "AHEAD", 3)
    together = threading.Barrier(CONTAINERS)
    given: list[int] = []

    def items(one: int, tally: Tally) -> Iterator[int]:
        together.wait(60)
        for number in range(100):
            given.append(one)
            yield number

    found = flattened(items, range(CONTAINERS), Tally())
    assert next(found) == 0
    found.close()
    assert len(given) <= 4 * CONTAINERS


def test_what_a_container_raises_comes_in_its_turn() -> None:
    def items(one: int, tally: Tally) -> Iterator[int]:
        if one == 2:
            raise OSError("broke off")
        yield one

    found = flattened(items, range(9), Tally())
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(OSError, match="broke off"):
        next(found)
