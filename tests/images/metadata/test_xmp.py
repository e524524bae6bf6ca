"""Properties out of an XMP packet that a stranger wrote."""

import tracemalloc

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from clipfake.images.metadata.xmp import MAX_VALUE, xmp_properties

NAMES = frozenset({"creatortool", "credit"})


@pytest.mark.parametrize(
    "inside",
    [
        b'<d:Description x:CreatorTool="a"/>',
        b"<x:CreatorTool> a\n</x:CreatorTool>",
        b'<x:CreatorTool rdf:resource="a"/>',
        b'<d:Description x:CreatorTool="a"/><x:CreatorTool>b</x:CreatorTool>',  # the first one counts
        b'<d:Description x:CreatorTool="a"/><broken',
    ],
)
def test_a_property_is_an_attribute_an_element_or_a_resource(inside: bytes) -> None:
    assert xmp_properties(b"<r>" + inside + b"</r>", NAMES) == {"creatortool": "a"}


def test_values_are_bounded() -> None:
    found = xmp_properties(b"<r><x:Credit>" + b"a" * 10_000 + b"</x:Credit></r>", NAMES)
    assert found == {"credit": "a" * MAX_VALUE}


def test_entities_of_an_xmp_packet_are_not_expanded():
    lol = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(10))
    bomb = f'<!DOCTYPE x [{lol}]><x CreatorTool="&l9;">&l9;</x>'.encode()
    tracemalloc.start()
    assert xmp_properties(bomb, frozenset({"creatortool"})) == {}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    outside = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x><CreatorTool>&f;</CreatorTool></x>'
    assert xmp_properties(outside, frozenset({"creatortool"})) == {}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_packet_raises(noise):
    packet = b'<r x:CreatorTool="a">' + b" " * 300 + b"</r>"
    for data in (noise, packet[:200] + noise + packet[200:], packet[: len(noise)]):
        assert isinstance(xmp_properties(data, NAMES), dict)
