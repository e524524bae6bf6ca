"""Members of a tar found by their names."""

from pathlib import Path

import pytest
from tars import write_tar

from clipfake.corpus.tar_members import find_members
from clipfake.storage import uri as uris


def test_members_are_found_until_the_damage_or_the_time(tmp_path: Path) -> None:
    members = {"a": b"1", "b": b"22", "d/c": b"333"}
    uri = write_tar(tmp_path / "0.tar", members)
    data = (tmp_path / "0.tar").read_bytes()
    found = {name: data[offset : offset + size] for name, offset, size in find_members(uri, ["d/c", "a", "none"])}
    assert found == {"a": b"1", "d/c": b"333"}
    assert list(find_members(uri, ["a"], until=-1.0)) == []
    (tmp_path / "0.tar").write_bytes(data[:1100])
    assert [name for name, *_ in find_members(uri, list(members))] == ["a"]
    (tmp_path / "0.tar").write_bytes(b"no tar")
    assert list(find_members(uri, ["a"])) == []
    with pytest.raises(FileNotFoundError):
        list(find_members(uris.from_path(tmp_path / "1.tar"), ["a"]))
