import pytest

from clipfake.corpus.entries import is_litter


@pytest.mark.parametrize(
    ("name", "litter"),
    [("._a.jpg", True), (".DS_Store", True), ("Thumbs.db", True), ("a._b.jpg", False), (".a.jpg", False), ("_", False)],
)
def test_litter_is_told_by_its_name(name: str, litter: bool) -> None:
    assert is_litter(name) is litter
