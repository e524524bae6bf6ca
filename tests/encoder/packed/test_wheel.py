import hashlib
from pathlib import Path

import pytest

from clipfake.encoder.packed import wheel
from clipfake.encoder.packed.clip_b16 import FINGERPRINT, HUB
from clipfake.encoder.packed.wheel import packed_from_wheel
from clipfake.errors import UsageError


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"clipfake\[onnx\]"):
        packed_from_wheel(HUB)


def downloads(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    def run(command: list[str], **options: object) -> None:
        (Path(command[command.index("--dest") + 1]) / "x.whl").write_bytes(data)

    monkeypatch.setattr(wheel.subprocess, "run", run)


def test_another_wheel_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    downloads(monkeypatch, b"something else")
    with pytest.raises(UsageError, match="its sha256 differs"):
        wheel._wheel()


def test_the_known_wheel_is(monkeypatch: pytest.MonkeyPatch) -> None:
    downloads(monkeypatch, b"known")
    monkeypatch.setattr(wheel, "SHA256", hashlib.sha256(b"known").hexdigest())
    assert wheel._wheel() == b"known"


def test_what_pip_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "WHEEL", "no such package==1")
    with pytest.raises(UsageError, match="pip cannot download") as caught:
        wheel._wheel()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_wheel_of_the_index_gives_the_known_encoder() -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    try:
        packed = packed_from_wheel(HUB)
    except UsageError as error:
        pytest.skip(f"the wheel cannot be had here: {error}")
    assert packed.fingerprint == FINGERPRINT
