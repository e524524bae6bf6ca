"""The layout `parquet`: Parquet files with a column of image bytes, or Hugging Face's struct of bytes and path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from clipfake.corpus.beside import Beside, flattened
from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.layouts.labels import label_of
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.parquet_bytes import DamagedError, StoredTexts, read_texts
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import CUT_CONTAINER, Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

_TEXTS = ("generator", "category", "caption", "group_id", "split")


def items(place: str, options: LayoutOptions, tally: Tally, beside: Beside = flattened) -> Iterator[Item]:
    """One item a row; the member is the row's number. The images' column is not read, so no item has a size.

    A label is read only from a column that --columns names: 0, false or real; 1, true or fake; null none. The columns
    generator, category, caption, group_id and split are taken under their own names. A column may also be a folder's
    name, as Hive writes it: `label=fake/`.
    """
    unknown = set(options.columns) - {"image", "label", *_TEXTS}
    if unknown:
        raise UsageError(f"--columns takes image, label, {', '.join(_TEXTS)}, not {', '.join(sorted(unknown))}")
    yield from beside(partial(_stored, place, options), _files(place, options, tally), tally)


def _files(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Entry]:
    for entry in list_files(place, tally, allow_outside=options.allow_outside):
        if entry.uri.lower().endswith(".parquet"):
            yield entry
        else:
            tally.skip("file that is not .parquet", entry.uri)


def _stored(place: str, options: LayoutOptions, entry: Entry, tally: Tally) -> Iterator[Item]:
    """The items of one file."""
    wanted = {name: name for name in _TEXTS}
    wanted.update({name: column for name, column in options.columns.items() if name != "image"})
    source = None
    try:
        source = open_source(entry.uri)
        texts = read_texts(source, sorted(set(wanted.values())), options.columns.get("image"))
        partitions = _partitions(entry.uri[len(place) :])
        _check_columns(texts, entry, partitions, options)
        yield from _rows(texts, entry, wanted, partitions)
    except DamagedError as error:
        tally.warn(CUT_CONTAINER, entry.uri, f"the Parquet file is damaged, what can be read is listed: {error}")
    except OSError as error:
        raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
    finally:
        if source is not None:
            source.close()


def _partitions(path: str) -> dict[str, str]:
    """The columns that folders name: `label=fake/generator=sdxl/`."""
    parts = [uris.shown(part).partition("=") for part in path.split("/")[:-1]]
    return {name: value for name, sign, value in parts if sign}


def _check_columns(stored: StoredTexts, entry: Entry, partitions: dict[str, str], options: LayoutOptions) -> None:
    """Raises UsageError where the bytes or a named column are missing."""
    kinds, wanted = dict(stored.columns), options.columns.get("image")
    lacking = set(options.columns.values()) - {*kinds, *partitions}
    if stored.image is None or lacking:
        what = ", ".join(sorted(lacking)) or "with image bytes"
        if wanted in kinds and not lacking:
            what += f" of the name {wanted}, which is {kinds[wanted]}"
        has = ", ".join(f"{name} ({kind})" for name, kind in stored.columns)[:1000]
        how = "" if wanted in kinds else "; use --columns image=NAME"
        raise UsageError(f"{uris.shown(entry.uri)} has no column {what}: it has {has}{how}")


def _rows(stored: StoredTexts, entry: Entry, wanted: dict[str, str], partitions: dict[str, str]) -> Iterator[Item]:
    """The rows with what is wanted of each: what it is -> the column of the file, or of a folder's name."""
    row = 0
    for count, texts in stored.parts:
        for index in range(count):
            told = {
                name: texts[column][index] if column in texts else partitions.get(column) or None
                for name, column in wanted.items()
            }
            target = told.pop("label", None)
            try:
                label = label_of(target or "", any_integer=False)
            except ValueError:
                where = f"{uris.shown(entry.uri)} row {row + index}"
                raise UsageError(
                    f"{where}: the label {target!r} is neither 0, 1, false, true, real, fake nor null"
                ) from None
            item = Item(entry.uri, entry.version, None, member=str(row + index), label=label, target=target)
            yield replace(item, **told)  # type: ignore[arg-type]  # the columns of _TEXTS
        row += count


LAYOUT = Layout("parquet", "Parquet with a column of image bytes", items, frozenset({"columns"}), of_containers=True)
