"""The images that `field/v1` was fitted and tested on, from clones of public repositories, as a corpus to index.

    python tests/benchmarks/field_corpus.py REPOSITORIES OUT [--folder mini_artifact=FOLDER]

REPOSITORIES : a folder of clones, bare or not, named OWNER+NAME
OUT : gets SOURCE/<sha256>.<ext> and field.csv, for `clipfake index OUT/field.csv --layout csv`
--folder : a folder of images in the place of a repository
docs/field/items.csv is the list: repository, path, sha256, label, generator, source. What is not there, or is another
file by now, is counted and left out. The images belong to others: docs/field.md says under which licences.
"""

import argparse
import csv
import hashlib
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ITEMS = Path(__file__).parents[2] / "docs" / "field" / "items.csv"
COLUMNS = ("image_path", "label", "generator", "category", "group_id", "split")


def blobs(repository: Path, paths: list[str]) -> Iterator[bytes | None]:
    """The bytes of each path at the head of a clone, None where there is no such file."""
    git = next((git for git in (repository / "repo", repository / ".git", repository) if (git / "HEAD").exists()), None)
    if git is None:
        yield from (None for _ in paths)
        return
    with subprocess.Popen(
        ["git", "--git-dir", git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as cat:
        assert cat.stdin is not None and cat.stdout is not None
        for path in paths:
            cat.stdin.write(f"HEAD:{path}\n".encode())
            cat.stdin.flush()
            said = cat.stdout.readline().split()
            if len(said) != 3 or said[1] != b"blob":
                yield None
                continue
            data = cat.stdout.read(int(said[2]))
            cat.stdout.read(1)
            yield data
        cat.stdin.close()


def files(folder: Path, paths: list[str]) -> Iterator[bytes | None]:
    """The bytes of each path below a folder, None where there is no such file."""
    for path in paths:
        yield (folder / path).read_bytes() if (folder / path).is_file() else None


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("repositories", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER")
    given = asked.parse_args()
    folders = dict(pair.split("=", 1) for pair in given.folder)
    wanted = defaultdict(list)
    with ITEMS.open(newline="") as listed:
        for row in csv.DictReader(listed):
            wanted[row["repository"]].append(row)
    rows, lacking = [], Counter[str]()
    for repository, items in sorted(wanted.items()):
        paths = [item["path"] for item in items]
        clone = given.repositories / repository.replace("/", "+")
        read = files(Path(folders[repository]), paths) if repository in folders else blobs(clone, paths)
        for item, data in zip(items, read, strict=True):
            if data is None or hashlib.sha256(data).hexdigest() != item["sha256"]:
                lacking[repository] += 1
                continue
            path = given.out / item["source"] / f"{item['sha256'][:20]}{Path(item['path']).suffix.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            group = item["group_id"] or item["sha256"]
            rows.append(
                (path.relative_to(given.out), item["label"], item["generator"], item["source"], group, item["split"])
            )
    with (given.out / "field.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{len(rows)} of {sum(map(len, wanted.values()))} images -> {given.out / 'field.csv'}")
    for repository, count in sorted(lacking.items()):
        print(f"{repository}: {count} images are not there, or are others by now")


if __name__ == "__main__":
    main()
