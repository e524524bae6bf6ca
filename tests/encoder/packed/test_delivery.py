from pathlib import Path

import pytest

from clipfake import encoder as encoders
from clipfake.encoder.packed.delivery import check_place, fetch
from clipfake.errors import UsageError


def test_into_a_folder_under_its_own_name(packed_file: Path, tmp_path: Path) -> None:
    place = fetch(str(packed_file), str(tmp_path / "new" / "folder"))
    assert place == (tmp_path / "new" / "folder" / "small.safetensors").as_uri()
    assert (tmp_path / "new" / "folder" / "small.safetensors").read_bytes() == packed_file.read_bytes()


def test_to_an_object_store_and_used_from_there(
    packed_file: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path / "cache"))
    place = fetch(str(packed_file), f"{s3}/encoders/x.safetensors")
    described = encoders.describe(place)
    assert described.uri == f"{s3}/encoders/x.safetensors"
    assert described.fingerprint == encoders.describe(str(packed_file)).fingerprint
    assert encoders.load(described).description == described


def test_only_packed_encoders_are_brought(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for encoder in ("ViT-B-32/untrained", str(checkpoints[".safetensors"])):
        with pytest.raises(UsageError, match="no packed encoder"):
            fetch(encoder, str(tmp_path))


def test_a_packed_file_has_its_ending() -> None:
    with pytest.raises(UsageError, match="ends in"):
        check_place("folder/x.pt")
