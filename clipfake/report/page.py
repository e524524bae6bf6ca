"""The page of a report: what `summarise` found -> one HTML file that runs nothing and asks nobody for anything."""

from collections.abc import Mapping
from typing import Any

from clipfake.measures.thresholds import Threshold
from clipfake.report.figures import charts
from clipfake.report.thumbnails import Thumbnail
from clipfake.report.trust import trust
from clipfake.report.wording import environment, flagged_share

_NO_PICTURE = Thumbnail(None, reason="no thumbnail was asked for")


def render_report(found: Mapping[str, Any], pictures: Mapping[str, Thumbnail]) -> str:
    """The page as text. found : of `clipfake.report.report.summarise`; pictures : by item_id"""
    total = found["total"]
    days = found["days"]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            found=found,
            total=total,
            trust=trust(found),
            thresholds=_thresholds(found),
            histogram=found["histogram"] and charts.score_histogram(found["histogram"], found["thresholds"]),
            by_day=charts.by_day(days, [flagged_share(day) for day in days]) if len(days) > 1 else None,
            prefix=_common([folder["folder"] for folder in found["folders"]]),
            picture=lambda item: pictures.get(item["item_id"], _NO_PICTURE),
        )
    )


def _thresholds(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rates = ((found["bundle"] or {}).get("metrics") or {}).get("at_thresholds", {})
    return [
        {
            **t,
            "interval": Threshold(t["fpr"], t["decision"], t["reals"]).fpr_interval(),
            "flagged": flagged,
            "on_test": rates.get(str(t["fpr"])),
        }
        for t, flagged in zip(found["thresholds"], found["flagged_at"], strict=True)
    ]


def _common(folders: list[str]) -> str:
    """What all folders begin with, to the last `/` before they differ; nothing where there is only one."""
    parts = [folder.split("/") for folder in folders]
    if len(parts) < 2:
        return ""
    same = 0
    while all(len(part) > same + 1 and part[same] == parts[0][same] for part in parts):
        same += 1
    return "/".join(parts[0][:same]) + "/" if same else ""
