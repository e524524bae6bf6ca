"""English that depends on a number."""

import pytest

from clipfake.english import counted


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "0 nodes"),
        (1, "1 node"),
        (1.0, "1 node"),
        (2, "2 nodes"),
        (0.5, "0.5 nodes"),
        (10**9, "1,000,000,000 nodes"),
    ],
)
def test_one_is_one_and_others_are_many(n, said):
    assert counted(n, "node") == said
