"""By folder: the largest, and those with the largest share flagged."""

from typing import Any

from clipfake.report.sections import Found, Section
from clipfake.report.tallies import TALLIES, Question

FOLDERS = 40
_HOT_ROWS = 100  # scored, for the share of fakes in a folder to mean anything


def _query(question: Question) -> dict[str, Any]:
    """Tallies by folder, at the deepest level that has at most FOLDERS folders.

    `folders`: the largest; `other_folders`: how many more there are, and their tallies; `hot_folders`: at full depth,
    those with the largest share flagged among those with 100 scored items and more.
    """
    rows = question.rows
    names = "n, errors, scored, real, unsure, fake, flagged"
    question.tallies(f"CREATE OR REPLACE TEMP TABLE folders AS SELECT folder, {TALLIES} FROM $rows GROUP BY folder")
    above = "array_to_string(string_split(folder, '/')[1:depth], '/')"
    depths = rows.ask(
        f"""SELECT depth, count(DISTINCT {above}) AS n
            FROM folders, range(1, (SELECT max(len(string_split(folder, '/'))) + 1 FROM folders)) AS depths (depth)
            GROUP BY depth ORDER BY depth"""
    )
    levels = [level["depth"] for level in depths if 1 < level["n"] <= FOLDERS]
    wide = [level["depth"] for level in depths if level["n"] > FOLDERS]
    depth = max(levels, default=min(wide, default=len(depths)))
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in names.split(", "))
    rows.ask(
        f"""CREATE OR REPLACE TEMP TABLE level AS SELECT {above} AS folder, {sums}
            FROM folders, (SELECT $depth AS depth) GROUP BY 1""",
        depth=depth,
    )
    largest = rows.ask(f"FROM level ORDER BY n DESC, folder LIMIT {FOLDERS}")
    (other,) = rows.ask(
        f"SELECT count(*) AS folders, {sums} FROM (FROM level ORDER BY n DESC, folder OFFSET {FOLDERS})"
    )
    hot = rows.ask(
        f"FROM folders WHERE scored >= {_HOT_ROWS} AND flagged > 0 ORDER BY flagged / scored DESC, folder LIMIT 10"
    )
    return {"folders": largest, "other_folders": other if other["folders"] else None, "hot_folders": hot}


def _draw(found: Found) -> dict[str, Any]:
    return {"prefix": _common([folder["folder"] for folder in found["folders"]])}


def _common(folders: list[str]) -> str:
    """What all folders begin with, to the last `/` before they differ; nothing where there is only one."""
    parts = [folder.split("/") for folder in folders]
    if len(parts) < 2:
        return ""
    same = 0
    while all(len(part) > same + 1 and part[same] == parts[0][same] for part in parts):
        same += 1
    return "/".join(parts[0][:same]) + "/" if same else ""


SECTION = Section("folders", "Folders", 30, _query, _draw)
