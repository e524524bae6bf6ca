"""The page of a report: what `summarise` found -> one HTML file that runs nothing and asks nobody for anything."""

from collections.abc import Mapping
from typing import Any

from clipfake.report.sections import sections
from clipfake.report.thumbnails import Thumbnail
from clipfake.report.trust import trust
from clipfake.report.wording import environment

_NO_PICTURE = Thumbnail(None, reason="no thumbnail was asked for")


def render_report(found: Mapping[str, Any], pictures: Mapping[str, Thumbnail]) -> str:
    """The page as text. found : of `clipfake.report.report.summarise`; pictures : by item_id"""
    total = found["total"]
    shown = [section for section in sections() if section.there(found)]
    drawn = {name: value for section in shown for name, value in section.draw(found).items()}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            found=found,
            total=total,
            flagged_share=total["flagged"] / total["scored"] if total["scored"] else None,
            bundle=found["bundle"],
            trust=trust(found),
            sections=shown,
            picture=lambda item: pictures.get(item["item_id"], _NO_PICTURE),
            **drawn,
        )
    )
