"""How fast a corpus is listed: local files against `find`, keys of an S3 server on loopback against pyarrow alone.

python tests/benchmarks/listing.py --files 1000000 --keys 100000

Both lie a thousand to a folder; three rounds in turns. The files are empty but one; the S3 server is moto's, in a
process of its own, and its keys are put straight into its memory. With --begins it is not the listing that is timed:
an `embed` with actors that do nothing (growth.py's) begins on Ray while the listing goes on. It ends when all is listed
and rows are committed; what is left then takes as long as such rows take (growth.py).
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

A_FOLDER = 1000
ROUNDS = 3
BEGINNING = b"\xff\xd8\xff"  # of a JPEG: a corpus where no file has it is refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--begins", action="store_true", help="when rows are committed, and when all is listed")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # so many files do not stay
    if asked.serve:
        serve(asked.keys, asked.serve)
        return
    work = begins if asked.begins else compare
    if asked.begins:
        print("| what | first rows committed, s | files listed by then | all is listed, s | rows committed by then |")
        print("|---|---|---|---|---|", flush=True)
    else:
        print("| what | how | files/s, median (low .. high) |\n|---|---|---|", flush=True)
    if asked.files:
        with tempfile.TemporaryDirectory(prefix="clipfake-listing-") as folder:
            for number in range(0, asked.files, A_FOLDER):
                below = Path(folder) / f"{number // A_FOLDER:06d}"
                below.mkdir()
                for i in range(min(A_FOLDER, asked.files - number)):
                    os.close(os.open(below / f"{i:06d}.jpg", os.O_CREAT))
            Path(folder, "000000", "000000.jpg").write_bytes(BEGINNING)
            uri = f"file://{folder}"
            ways = {"find -printf (name, size, time)": lambda: find(folder), "pyarrow": lambda: with_pyarrow(uri)}
            work(f"{asked.files:,} local files", asked.files, uri, ways)
    if asked.keys:
        with moto(asked.keys) as uri:
            work(f"{asked.keys:,} S3 keys", asked.keys, uri, {"pyarrow": lambda: with_pyarrow(uri)})


def compare(what: str, count: int, uri: str, ways: dict[str, Callable[[], int]]) -> None:
    from clipfake.corpus.layouts import LayoutOptions
    from clipfake.corpus.listing import list_files
    from clipfake.corpus.manifest import list_corpus
    from clipfake.corpus.tally import Tally

    ways = ways | {
        "clipfake, files": lambda: sum(1 for _ in list_files(uri, Tally())),
        "clipfake, manifest rows": lambda: sum(b.num_rows for b in list_corpus(uri, "images", LayoutOptions())),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            assert way() == count, name
            rates[name].append(count / (time.perf_counter() - began))
    for name, found in rates.items():
        print(
            f"| {what} | {name} | {statistics.median(found):,.0f} ({min(found):,.0f} .. {max(found):,.0f}) |",
            flush=True,
        )


class EnoughError(Exception):
    """All is listed, and rows are committed."""


class Watch:
    """What is listed and what is committed in `out`, in seconds since it was made."""

    def __init__(self, out: Path) -> None:
        self.out, self.began = out, time.perf_counter()
        self.files = self.files_at_first = self.rows_at_end = 0
        self.first: float | None = None
        self.ended: float | None = None

    def listed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.files += batch.num_rows
            yield batch
        self.ended = time.perf_counter() - self.began
        self.rows_at_end = sum(pq.read_metadata(file).num_rows for file in self.out.glob("*.parquet"))

    def look(self) -> None:
        if self.first is None and any(self.out.glob("*.parquet")):
            self.first, self.files_at_first = time.perf_counter() - self.began, self.files

    def came(self, rows: int) -> None:
        """Is called whenever rows come."""
        self.look()
        if self.first is not None and self.ended is not None:
            raise EnoughError


def begins(what: str, count: int, uri: str, ways: object) -> None:
    """An `embed` of it all, whose rows are made up; of these no more than show that they come."""
    from growth import DIM, NullEncode, NullEncoder, NullPrepare

    from clipfake.corpus.tally import Tally
    from clipfake.encoder.description import EncoderDescription
    from clipfake.images.preprocess import Preprocess
    from clipfake.scoring import embed, sources
    from clipfake.scoring.listing import image_listing
    from clipfake.scoring.options import EmbedOptions, ScanOptions
    from clipfake.storage.store import Store

    sources.Prepare, sources.Encode, sources.PrepareAndEncode = NullPrepare, NullEncode, NullEncoder
    sources.peak_memory = lambda *of: 1 << 30  # of no known architecture
    encoder = EncoderDescription("null", "untrained", "0" * 64, Preprocess.from_dict({"size": 224}), DIM, False)
    options = ScanOptions(precision="bf16")
    with tempfile.TemporaryDirectory(prefix="clipfake-listing-") as folder:
        watch = Watch(Path(folder, "out"))
        listing = image_listing(uri, options, {}, Tally())

        def watched() -> pa.RecordBatchReader:
            found = listing()
            return pa.RecordBatchReader.from_batches(found.schema, watch.listed(found))

        out = Store(f"file://{watch.out}")
        with suppress(EnoughError):
            embed.embed_listing(watched, uri, encoder, out, options, lambda items: watch.came, EmbedOptions())
        watch.look()
        assert watch.files == count
        print(
            f"| {what} | {watch.first:.1f} | {watch.files_at_first:,} | {watch.ended:.1f} | {watch.rows_at_end:,} |",
            flush=True,
        )


def find(folder: str) -> int:
    command = ["find", folder, "-type", "f", "-printf", r"%p %s %T@\n"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.count(b"\n")


def with_pyarrow(uri: str) -> int:
    from pyarrow.fs import FileSelector, FileSystem

    filesystem, path = FileSystem.from_uri(uri)
    return sum(1 for info in filesystem.get_file_info(FileSelector(path, recursive=True)) if info.is_file)


class moto:  # noqa: N801
    """The URI of a bucket of so many keys, while the block runs."""

    def __init__(self, keys: int) -> None:
        self.command = [sys.executable, __file__, "--keys", str(keys), "--serve"]

    def __enter__(self) -> str:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.server = subprocess.Popen([*self.command, str(port)], stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n"
        os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        return "s3://bucket/crawl"

    def __exit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait()


def serve(keys: int, port: int) -> None:
    import logging

    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket("bucket", "us-east-1")
    for i in range(keys):
        backend.put_object("bucket", f"crawl/{i // A_FOLDER:06d}/{i % A_FOLDER:06d}.jpg", BEGINNING)
    print("ready", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
