"""Children that die, hang or run out of memory cost one row; the others do not notice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from clipfake.errors import ClipfakeError, UsageError
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import Prepared, prepare
from clipfake.images.preprocess import Preprocess
from clipfake.status import Status

LIMITS = Limits()
OPTIONS = Preprocess()
MEGABYTE = 1 << 20


def same(one: Prepared, other: Prepared) -> bool:
    about = [(p.status, p.error, p.width, p.height, p.format) for p in (one, other)]
    return about[0] == about[1] and np.array_equal(one.pixels, other.pixels)


def in_process(blob: bytes) -> Prepared:
    return prepare(blob, LIMITS, OPTIONS)


def orphans(blob: bytes, timeout_s: float = 20.0) -> list[psutil.Process]:
    """The children of a process that is killed half a second after it has begun to prepare `blob`s."""
    code = f"""if True:
        import os, signal, threading
        from clipfake.images.decoder_pool import DecoderPool, Limits, Preprocess
        with DecoderPool(2, Limits(timeout_s={timeout_s}), Preprocess()) as pool:
            pool.prepare([b"GIF89a"] * 8)
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
            print(*pool.pids(), flush=True)
            while True:
                pool.prepare([{blob!r}] * 8)
    """
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False, env=os.environ | path
    )
    assert done.returncode == -signal.SIGKILL
    return [psutil.Process(int(pid)) for pid in done.stdout.split() if psutil.pid_exists(int(pid))]


@pytest.fixture
def blobs(picture, encode) -> list[bytes]:
    """Good and bad small images of all kinds."""
    good = [encode(picture, fmt) for fmt in ("jpeg", "png", "webp", "gif", "bmp", "tiff")]
    return [*good, b"", b"<html>", *[data[: len(data) // 2] for data in good], *good]


@pytest.fixture(scope="session")
def heavy(encode) -> bytes:
    """A small file that takes about half a second and 150 MB to decode."""
    return encode(Image.new("CMYK", (6000, 6000)), "tiff", compression="tiff_deflate")


@contextmanager
def watching(pool: DecoderPool, act: Callable[[int], None], megabytes: int = 90) -> Iterator[None]:
    """Calls act(pid) for each child that grows beyond `megabytes`: with `heavy` under way, in the middle of it."""
    stop = threading.Event()

    def watch() -> None:
        seen = set()
        while not stop.wait(0.002):
            for pid in pool.pids():
                try:
                    grown = psutil.Process(pid).memory_info().rss > megabytes * MEGABYTE
                except psutil.NoSuchProcess:
                    continue
                if grown and pid not in seen:
                    seen.add(pid)
                    act(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def killer(number: int, times: int) -> Callable[[int], None]:
    left = [times]

    def kill(pid: int) -> None:
        if left[0]:
            left[0] -= 1
            os.kill(pid, number)

    return kill


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_as_in_this_process_and_in_order(workers, blobs):
    expected = [in_process(blob) for blob in blobs]
    with DecoderPool(workers, LIMITS, OPTIONS) as pool:
        for _ in range(2):
            got = pool.prepare(blobs)
            assert len(got) == len(blobs)
            assert all(same(one, other) for one, other in zip(got, expected, strict=True))
        assert pool.prepare([]) == []
    assert {result.status for result in got} == {Status.OK, Status.EMPTY, Status.UNSUPPORTED, Status.TRUNCATED}


def test_real_photos(photos):
    with DecoderPool(2, LIMITS, OPTIONS) as pool:
        got = pool.prepare(photos)
    assert all(same(one, in_process(data)) for one, data in zip(got, photos, strict=True))


def test_sizes_that_are_not_square(picture, encode):
    options = Preprocess((32, 48), resize_mode="squash")
    with DecoderPool(1, LIMITS, options) as pool:
        (got,) = pool.prepare([encode(picture, "png")])
    assert got.pixels is not None and got.pixels.shape == (32, 48, 3)
    assert got.pixels.flags.writeable and got.pixels.flags.c_contiguous


def test_bytes_that_could_not_be_had(picture, encode):
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        got = pool.prepare([None, encode(picture, "png"), None])
    assert [result.status for result in got] == [Status.UNREADABLE, Status.OK, Status.UNREADABLE]


def test_more_bytes_than_the_limit_are_not_sent(picture, encode):
    data = encode(picture, "bmp")
    with DecoderPool(1, Limits(max_bytes=len(data) - 1), OPTIONS) as pool:
        got = pool.prepare([data, encode(picture, "jpeg")])
    assert [result.status for result in got] == [Status.TOO_LARGE, Status.OK]


def test_large_files_between_small_ones(picture, encode):
    noise = encode(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8), "png")
    assert len(noise) > 4 * MEGABYTE  # far more than a socket holds
    blobs = [encode(picture, "png"), noise] * 4
    with DecoderPool(2, LIMITS, OPTIONS) as pool:
        assert [result.width for result in pool.prepare(blobs)] == [80, 1200] * 4


def test_replies_that_no_socket_holds(encode):
    noise = encode(np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8), "bmp")
    with DecoderPool(1, Limits(timeout_s=10), Preprocess((1500, 1500))) as pool:
        assert {result.status for result in pool.prepare([noise] * 4)} == {Status.OK}


@pytest.fixture
def in_children(tmp_path, monkeypatch) -> Callable[[str], None]:
    """in_children(code) runs `code` in every child before each image, whose bytes it sees as `data`."""

    def install(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import clipfake.images.prepare as module\n"
            "real, kept = module.prepare, []\n"
            "def prepare(data, *options, **more):\n"
            f"    {code}\n"
            "    return real(data, *options, **more)\n"
            "module.prepare = prepare\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("__import__('ctypes').string_at(0)", "died of SIGSEGV"),
        ("__import__('os')._exit(3)", "exited with code 3"),
        ("__import__('os').closerange(0, 99); __import__('time').sleep(99)", "stopped answering"),
    ],
)
def test_images_that_crash_the_decoder(code, reason, blobs, in_children):
    in_children(f"if data == b'MM\\0*crash': {code}")
    crash = b"MM\0*crash"
    with DecoderPool(2, LIMITS, OPTIONS) as pool:
        got = pool.prepare([*blobs, crash, *blobs, crash])
    expected = [in_process(blob) for blob in blobs]
    wanted = [*expected, None, *expected, None]
    for one, other in zip(got, wanted, strict=True):
        if other is None:
            assert (one.status, one.error) == (Status.CRASHED, f"the decoding process {reason}")
        else:
            assert same(one, other)


def test_images_that_hang_the_decoder(blobs, in_children):
    in_children("if data == b'MM\\0*hang': __import__('time').sleep(99)")
    with DecoderPool(2, Limits(timeout_s=1.5), OPTIONS) as pool:
        got = pool.prepare([b"MM\0*hang", *blobs, b"MM\0*hang", *blobs])
    assert [at for at, one in enumerate(got) if one.status is Status.TIMEOUT] == [0, len(blobs) + 1]
    assert all(same(*pair) for pair in zip(got[1 : len(blobs)], map(in_process, blobs), strict=False))


@pytest.mark.slow
def test_decoders_that_leak_are_replaced_in_time(encode, in_children):
    """Each image leaks 1 MB; 300 of them would need 300 MB of the 200 MB allowed, and libjpeg calls that corrupt."""
    in_children("kept.append(bytearray(1 << 20))")
    data = encode(Image.new("RGB", (1000, 1000)), "jpeg", progressive=True, subsampling=0)
    with DecoderPool(1, Limits(memory_bytes=200 * MEGABYTE), OPTIONS) as pool:
        (before,) = pool.pids()
        got = pool.prepare([data] * 300)
        assert pool.pids() != [before]
    assert {one.status for one in got} == {Status.OK}


@pytest.mark.slow
def test_a_child_that_hangs_does_not_outlive_a_parent_that_is_killed(in_children):
    in_children("if data == b'MM\\0*hang': __import__('time').sleep(99)")
    children = orphans(b"MM\0*hang", timeout_s=1)
    assert len(children) == 2  # they hang
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def test_an_image_whose_process_is_killed_twice_costs_its_own_row(heavy, blobs):
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        with watching(pool, killer(signal.SIGKILL, times=2)):
            got = pool.prepare([*blobs, heavy, *blobs])
        after = pool.prepare(blobs)
    assert got[len(blobs)].status is Status.CRASHED
    assert got[len(blobs)].error == "the decoding process died of SIGKILL"
    expected = [in_process(blob) for blob in blobs]
    for part in (got[: len(blobs)], got[len(blobs) + 1 :], after):
        assert all(same(one, other) for one, other in zip(part, expected, strict=True))


def test_a_kill_from_outside_costs_nothing(heavy, blobs):
    with DecoderPool(2, LIMITS, OPTIONS) as pool:
        with watching(pool, killer(signal.SIGKILL, times=1)):
            got = pool.prepare([*blobs, heavy, *blobs])
        for pid in pool.pids():  # and while they are idle
            os.kill(pid, signal.SIGKILL)
        after = pool.prepare(blobs)
    expected = [in_process(blob) for blob in [*blobs, heavy, *blobs]]
    assert all(same(one, other) for one, other in zip(got, expected, strict=True))
    assert all(same(one, other) for one, other in zip(after, expected, strict=False))


def test_an_image_that_hangs_costs_its_own_row(heavy, blobs):
    with DecoderPool(1, Limits(timeout_s=3), OPTIONS) as pool:
        began = time.monotonic()
        with watching(pool, killer(signal.SIGSTOP, times=9)):
            got = pool.prepare([*blobs, heavy, *blobs])
        assert 3 <= time.monotonic() - began < 12
    assert got[len(blobs)].status is Status.TIMEOUT
    assert got[len(blobs)].error == "not decoded within 3 s"
    expected = [in_process(blob) for blob in blobs]
    for part in (got[: len(blobs)], got[len(blobs) + 1 :]):
        assert all(same(one, other) for one, other in zip(part, expected, strict=True))


def test_a_hanging_child_that_is_also_full(encode):
    """The next image does not fit into the socket of a child that has stopped reading."""
    large = encode(np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8), "bmp")
    with DecoderPool(1, Limits(timeout_s=2), OPTIONS) as pool:
        pool.prepare([large])
        os.kill(pool.pids()[0], signal.SIGSTOP)
        got = pool.prepare([large, large])
    assert [result.status for result in got] == [Status.TIMEOUT, Status.OK]


def test_an_image_that_eats_memory_costs_its_own_row(heavy, blobs):
    with DecoderPool(1, Limits(memory_bytes=96 * MEGABYTE), OPTIONS) as pool:
        got = pool.prepare([*blobs, heavy, *blobs])
        peak = max(psutil.Process(pid).memory_info().rss for pid in pool.pids())
    assert got[len(blobs)].status is Status.CRASHED
    assert "memory" in (got[len(blobs)].error or "")
    assert (got[len(blobs)].width, got[len(blobs)].format) == (6000, "tiff")
    assert peak < 200 * MEGABYTE
    expected = [in_process(blob) for blob in blobs]
    for part in (got[: len(blobs)], got[len(blobs) + 1 :]):
        assert all(same(one, other) for one, other in zip(part, expected, strict=True))


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp", "gif", "bmp", "tiff"])
def test_every_decoder_meets_the_memory_limit(fmt, encode):
    image = Image.new("RGB", (5000, 5000), "navy")
    with DecoderPool(1, Limits(max_bytes=1 << 30, memory_bytes=90 * MEGABYTE), OPTIONS) as pool:
        (got,) = pool.prepare([encode(image.convert("L") if fmt == "bmp" else image, fmt)])
    assert got.status in (Status.CRASHED, Status.CORRUPT, Status.OK)
    assert got.status is not Status.OK or fmt in ("gif", "bmp")  # one byte a pixel


def test_a_child_killed_before_its_first_image_is_replaced(blobs):
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        expected = [one.status for one in pool.prepare(blobs)]
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        psutil.Process(pool.pids()[0]).kill()
        assert [one.status for one in pool.prepare(blobs)] == expected


def test_limits_of_a_child(blobs):
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        pool.prepare(blobs)
        child = psutil.Process(pool.pids()[0])
        lines = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
        limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
        assert limits["Max core file size"] == limits["Max file size"] == "0"
        assert LIMITS.memory_bytes < int(limits["Max address space"]) < 2 * LIMITS.memory_bytes
        assert child.memory_info().rss < 100 * MEGABYTE
        assert child.num_threads() == 1
        assert len(child.children()) == 0


def test_children_are_quiet(picture, encode, tmp_path):
    data = encode(picture, "tiff", compression="jpeg")
    data = data.replace(b"\x5b\x01\x07\0", b"\x5c\x01\x07\0")  # hides tag 347, JPEGTables: libtiff writes to stderr
    (tmp_path / "image").write_bytes(data)
    code = f"""if True:
        from clipfake.images.decoder_pool import DecoderPool, Limits, Preprocess
        with DecoderPool(1, Limits(), Preprocess()) as pool:
            print(pool.prepare([open({str(tmp_path / "image")!r}, "rb").read()])[0].status)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("corrupt\n", "")


def test_callers_in_several_threads(blobs):
    expected = [in_process(blob) for blob in blobs]
    wrong: list[int] = []

    def call() -> None:
        for _ in range(5):
            wrong.extend(not same(*pair) for pair in zip(pool.prepare(blobs), expected, strict=True))

    with DecoderPool(2, LIMITS, OPTIONS) as pool:
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 20 * len(blobs) and not any(wrong)


def test_closing_ends_the_children(blobs):
    pool = DecoderPool(2, LIMITS, OPTIONS)
    pool.prepare(blobs)
    pids = pool.pids()
    pool.close()
    pool.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_children_end_with_a_parent_that_is_killed():
    _, alive = psutil.wait_procs(orphans(b"GIF89a"), timeout=5)
    assert not alive


def test_the_current_folder_is_not_searched_for_modules(blobs, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy of a stranger')")
    monkeypatch.chdir(tmp_path)
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        assert pool.prepare(blobs)[0].status is Status.OK


def test_a_child_that_cannot_start_is_an_error(blobs, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        DecoderPool(2, LIMITS, OPTIONS) as pool,
        pytest.raises(ClipfakeError, match="it exited with code 1"),
    ):
        pool.prepare(blobs)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(ClipfakeError, match="no decoding process can start"):
        DecoderPool(1, LIMITS, OPTIONS)


def test_no_workers():
    with pytest.raises(UsageError, match="workers"):
        DecoderPool(0, LIMITS, OPTIONS)


def test_metadata_that_crashes_the_decoder_does_not_cost_the_picture(picture, encode, in_children):
    in_children("import clipfake.images.decode as d, os; d.declared = lambda *a: os.abort() if len(a[1]) % 2 else 'no'")
    blobs = sorted((encode(picture, "jpeg", quality=q) for q in range(20, 90, 10)), key=lambda blob: len(blob) % 2)
    even, odd = blobs[0], blobs[-1]
    assert (len(even) % 2, len(odd) % 2) == (0, 1)
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        got = pool.prepare([odd, even, odd])
    assert [one.declared for one in got] == [None, "no", None]
    for one, blob in zip(got, [odd, even, odd], strict=True):
        assert one.status is Status.OK and np.array_equal(one.pixels, in_process(blob).pixels)


def test_a_child_knows_no_keys_and_no_tokens(monkeypatch, blobs):
    """What it decodes comes from strangers: it inherits nothing but how to find and speak to things."""
    for name in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "HF_TOKEN", "HOME"):
        monkeypatch.setenv(name, "secret")
    with DecoderPool(1, LIMITS, OPTIONS) as pool:
        assert pool.prepare(blobs[:1])[0].status is Status.OK
        environment = psutil.Process(pool.pids()[0]).environ()
    assert environment.keys() <= {
        "PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL",
    }  # fmt: skip
