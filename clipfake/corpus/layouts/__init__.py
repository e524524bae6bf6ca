"""The layouts by name: the rules by which a corpus is listed and labelled."""

from clipfake.corpus.layouts import artifact, by_folder, images, parquet, table, videos, webdataset
from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        images.LAYOUT,
        artifact.LAYOUT,
        table.LAYOUT,
        webdataset.LAYOUT,
        parquet.LAYOUT,
        videos.LAYOUT,
        *by_folder.LAYOUTS,
    )
}

__all__ = ["LAYOUTS", "Item", "Layout", "LayoutOptions"]
