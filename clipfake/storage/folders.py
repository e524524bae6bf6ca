"""What lies directly in a folder of a remote filesystem, also where pyarrow's listing forgets the sub-folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


def entries(scheme: str, filesystem: FileSystem, path: str, allow_not_found: bool = False) -> list[FileInfo]:
    """The files and folders directly in a folder, sorted by path. Raises what pyarrow raises."""
    from pyarrow.fs import FileSelector

    if scheme == "gs":
        return tree(filesystem, path, allow_not_found).get(path.rstrip("/"), [])
    found = filesystem.get_file_info(FileSelector(path, recursive=False, allow_not_found=allow_not_found))
    return sorted(found, key=lambda info: info.path)


def tree(filesystem: FileSystem, path: str, allow_not_found: bool = False) -> dict[str, list[FileInfo]]:
    """The path of each folder at and below `path` -> what lies directly in it, sorted by path.

    For Google Cloud Storage: pyarrow gives its folders in no listing that is not recursive, so all is listed in one go.
    Memory: about 1 KB a file. Raises FileNotFoundError.
    """
    from pyarrow.fs import FileInfo, FileSelector, FileType

    root = path.rstrip("/")
    folders: dict[str, dict[tuple[str, bool], FileInfo]] = {}
    listed = filesystem.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    if not listed and not allow_not_found:
        raise FileNotFoundError(f"there is nothing at {path}")
    for info in listed:
        is_file = info.type == FileType.File
        folder, parts = root, info.path.rstrip("/")[len(root) + 1 :].split("/")
        for part in parts[:-1] if is_file else parts:
            child = f"{folder}/{part}"
            folders.setdefault(folder, {}).setdefault((child, False), FileInfo(child, FileType.Directory))
            folder = child
        if is_file:
            folders.setdefault(folder, {})[info.path, True] = info
    return {folder: [found[key] for key in sorted(found)] for folder, found in folders.items()}
