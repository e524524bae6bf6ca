"""The layout `videos`: frames of video files, each an item that is named by its moment; a video is a group."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from clipfake.corpus.durations import duration
from clipfake.corpus.frames import member_at
from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

ANIMATIONS: Final = (".gif", ".webp")  # which Pillow decodes
VIDEOS: Final = (".mp4", ".m4v", ".mov", ".webm", ".mkv", *ANIMATIONS)
FRAMES: Final = 16  # of a video, unless the user says otherwise
MAX_FRAMES: Final = 10_000  # of a video: a header may claim any length


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The frames of every video at or below a place: `--frames` in the middles of as many equal parts, or `--every`.

    Nothing is decoded: how long a video is, its header says. Where it does not, its first frame is the only item. An
    item has no size, and the URI of the video is its group_id.
    """
    if options.frames and options.every:
        raise UsageError("--frames and --every say the same in two ways: give one of them")
    for entry in list_files(place, tally, allow_outside=options.allow_outside):
        name = entry.uri.lower()
        if not name.endswith(VIDEOS):
            tally.skip(f"file that is no video ({', '.join(VIDEOS)})", entry.uri)
            continue
        if not name.endswith(ANIMATIONS) and find_spec("av") is None:
            raise UsageError(f"{uris.shown(entry.uri)} needs PyAV to be decoded: pip install 'clipfake[video]'")
        for member in dict.fromkeys(map(member_at, _moments(entry, options, tally))):
            yield Item(entry.uri, entry.version, None, member, group_id=entry.uri)


def _moments(entry: Entry, options: LayoutOptions, tally: Tally) -> list[float]:
    seconds = _duration(entry)
    if seconds is None:
        tally.warn("video without a length in its header", entry.uri, "its first frame is its only item")
        return [0.0]
    if options.every is None:
        count = options.frames or FRAMES
        return [(number + 0.5) * seconds / count for number in range(count)]
    if seconds > MAX_FRAMES * options.every:
        tally.warn(f"video with more than {MAX_FRAMES:,} frames", entry.uri, "the first of them are listed")
    count = int(min(MAX_FRAMES, max(1.0, -(-seconds // options.every))))
    return [number * options.every for number in range(count)]


def _duration(entry: Entry) -> float | None:
    try:
        source = open_source(entry.uri)
        try:
            return duration(source.file(), entry.size)
        finally:
            source.close()
    except OSError as error:
        raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error


LAYOUT = Layout(
    "videos", "frames of mp4, mov, webm, mkv, GIF and WebP; no labels", items, frozenset({"frames", "every"})
)
