"""Thumbnails show the picture in its own shape, re-encoded; what cannot be shown says why and holds nothing up."""

import base64
import io
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfake.report.thumbnails import EDGE, thumbnails
from clipfake.storage import uri as uris


def item(path: Path, member: str | None = None, size: int | None = None):
    found = path.stat() if path.exists() else None
    version = f"{found.st_size}-{found.st_mtime_ns}" if found else "1-1"
    size = size or (found.st_size if found else 1)
    return {"uri": uris.from_path(str(path)), "member": member, "version": version, "size": size}


def picture(thumbnail) -> Image.Image:
    kind, _, data = thumbnail.uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def save(path: Path, size: tuple[int, int], **options) -> Path:
    left = Image.new("RGB", size, "red")
    left.paste("blue", (size[0] // 2, 0, size[0], size[1]))
    left.save(path, **options)
    return path


@pytest.mark.parametrize("size", [(600, 200), (100, 333), (192, 192), (40, 30)])
def test_the_shape_is_kept_and_nothing_is_padded_or_cut(tmp_path, size):
    (thumbnail,) = thumbnails([item(save(tmp_path / "a.png", size))])
    shown = picture(thumbnail)
    assert shown.size == (thumbnail.width, thumbnail.height)
    assert max(shown.size) == EDGE
    assert shown.width / shown.height == pytest.approx(size[0] / size[1], rel=0.02)
    pixels = np.asarray(shown).astype(int)
    assert (pixels[:, 3] - (254, 0, 0) < 40).all()
    assert (pixels[:, -4] - (0, 0, 254) < 40).all()


def test_metadata_of_the_file_is_not_in_the_page(tmp_path):
    secret = Image.Exif()
    secret[0x010E] = "SECRET"
    (thumbnail,) = thumbnails([item(save(tmp_path / "a.jpg", (300, 200), exif=secret.tobytes()))])
    assert b"SECRET" not in base64.b64decode(thumbnail.uri.partition(",")[2])


def test_what_is_gone_changed_or_broken_says_so(tmp_path):
    changed, broken = save(tmp_path / "changed.png", (9, 9)), tmp_path / "broken.jpg"
    rows = [item(tmp_path / "gone.jpg"), item(changed)]
    save(changed, (10, 10))
    broken.write_bytes(b"<svg onload=alert(1)>")
    found = thumbnails([*rows, item(broken), item(save(tmp_path / "ok.png", (9, 9)))])
    assert [one.uri is None for one in found] == [True, True, True, False]
    assert "missing" in found[0].reason
    assert "changed" in found[1].reason
    assert "unsupported" in found[2].reason


def test_members_of_a_tar_are_found_again(tmp_path):
    save(tmp_path / "a.png", (300, 150))
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "x/first.png")
        tar.add(tmp_path / "a.png", "x/second.png")
    size = (tmp_path / "a.png").stat().st_size
    rows = [item(tmp_path / "shard.tar", name, size) for name in ("x/second.png", "x/none.png")]
    there, absent = thumbnails(rows)
    assert picture(there).size == (EDGE, EDGE // 2)
    assert "not in its archive" in absent.reason


def test_the_time_is_bounded(tmp_path):
    rows = [item(save(tmp_path / f"{i}.png", (9, 9))) for i in range(9)]
    began = time.monotonic()
    found = thumbnails(rows, seconds=-1)
    assert time.monotonic() - began < 10
    assert all(one.reason == "the time for thumbnails was up" for one in found)


def test_no_items_need_no_process():
    assert thumbnails([]) == []
