"""A footer gives back what was written: text as it is, all else as JSON, beside what others wrote there."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake import __version__
from clipfake.storage.footers import footer, read_footer

NAMES = st.text("abcdefgh_", min_size=1, max_size=8).filter(lambda name: name not in ("kind", "version"))
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@settings(max_examples=25)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_was_written_is_read(facts):
    found = read_footer({**footer("report", facts), b"pandas": b"{}", b"other.kind": b"x"})
    assert (found.pop("kind"), found.pop("version")) == ("report", __version__)
    assert found.keys() == facts.keys()
    for name, value in facts.items():
        assert (found[name] if isinstance(value, str) else json.loads(found[name])) == value


def test_the_same_facts_are_the_same_bytes_in_any_order():
    assert footer("m", {"options": {"a": 1, "b": 2}}) == footer("m", {"options": {"b": 2, "a": 1}})


def test_a_file_without_metadata_has_no_footer():
    assert read_footer(None) == {} == read_footer({})
