"""`clipfake compact`: a few lines over clipfake.storage.compaction."""

from typing import Annotated

import typer


def compact(
    place: Annotated[str, typer.Argument(help="Folder of reports or embeddings.", metavar="REPORTS")],
    target_mb: Annotated[int, typer.Option(help="Largest size of a merged file in megabytes.")] = 256,
) -> None:
    """Merge small files into large ones. It is safe to kill it."""
    from clipfake.storage.compaction import compact as run

    done = run(place, target_mb << 20)
    print(f"{done.files_before} files -> {done.files_after}; {done.rows} rows rewritten")
