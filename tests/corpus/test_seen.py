"""A name that comes again is noticed, whenever; all others are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus import seen
from clipfake.corpus.seen import Seen


@given(st.lists(st.integers(0, 40).map(str), max_size=80), st.integers(1, 9))
def test_as_a_set_does_it(names: list[str], recent: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "RECENT", recent)
        kept, before = Seen(), set[str]()
        for name in names:
            assert kept.again(name) is (name in before)
            before.add(name)
