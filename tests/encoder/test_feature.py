import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.encoder.feature import blocks_of
from clipfake.errors import UsageError


@given(st.sets(st.integers(1, 9999), min_size=1, max_size=12))
def test_blocks_have_one_spelling(blocks: set[int]) -> None:
    ordered = tuple(sorted(blocks))
    assert blocks_of("blocks:" + ",".join(map(str, ordered))) == ordered


@pytest.mark.parametrize("feature", ["projected", "penultimate"])
def test_the_other_two_have_no_blocks(feature: str) -> None:
    assert blocks_of(feature) == ()


@pytest.mark.parametrize(
    ("feature", "says"),
    [
        ("tokens", "give projected, penultimate or blocks:3,6,9,12"),
        ("", "give projected"),
        ("Projected", "give projected"),
        ("blocks:", "does not name blocks"),
        ("blocks:0", "does not name blocks"),
        ("blocks:-1", "does not name blocks"),
        ("blocks:03", "does not name blocks"),
        ("blocks:3, 6", "does not name blocks"),
        ("blocks:3,", "does not name blocks"),
        ("blocks:3,3", "twice or out of order; give blocks:3"),
        ("blocks:9,3,6", "twice or out of order; give blocks:3,6,9"),
    ],
)
def test_what_is_no_feature_is_one_line(feature: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        blocks_of(feature)
    assert "\n" not in str(caught.value)


def test_needs_no_torch() -> None:
    code = "import sys, clipfake.encoder.feature; assert not {'torch', 'open_clip', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
