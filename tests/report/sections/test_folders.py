"""Folders: at the level where they can be read."""

from clipfake.report.sections.folders import FOLDERS


def test_folders_are_shown_at_the_level_where_they_can_be_read(summarised, row):
    rows = [row(f"day-{i % 3}/host-{i % 60}/{i}.jpg") for i in range(120)]
    found = summarised(rows)
    assert {folder["folder"]: folder["n"] for folder in found["folders"]} == {
        f"file:///c/day-{i}": 40 for i in range(3)
    }
    assert found["other_folders"] is None


def test_too_many_folders_are_cut_and_the_rest_is_summed(summarised, row):
    found = summarised([row(f"host-{i}/{j}.jpg") for i in range(50) for j in range(1 + (i < 5))])
    assert len(found["folders"]) == FOLDERS
    assert [folder["n"] for folder in found["folders"][:6]] == [2, 2, 2, 2, 2, 1]
    assert found["other_folders"]["folders"] == 10
    assert found["other_folders"]["n"] + sum(folder["n"] for folder in found["folders"]) == 55


def test_the_folder_with_the_largest_share_comes_first(summarised, row):
    rows = [row(f"many/{i}", decision=3.0 if i < 5 else 0.0) for i in range(200)]
    rows += [row(f"few/{i}", decision=3.0) for i in range(50)]
    rows += [row(f"hot/{i}", decision=3.0 if i < 60 else 0.0) for i in range(100)]
    assert [(one["folder"][-4:], one["flagged"]) for one in summarised(rows)["hot_folders"]] == [
        ("/hot", 60),
        ("many", 5),
    ]
