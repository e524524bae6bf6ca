"""The section that gathers what all sections say for and against the verdicts."""

from clipfake.report.trust import trust
from clipfake.report.wording import environment


def test_every_reason_is_listed_with_its_tone(counted):
    found = trust(counted(bundle=None, checks=[{"holds": False}]))
    page = environment().get_template("trust.html.j2").render(trust=found)
    assert page.count("<li>") == len(found["reasons"]) == 3
    assert '<b class="bad">No.</b>' in page
