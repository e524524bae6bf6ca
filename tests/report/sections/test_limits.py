"""The page ends with what a score can never say."""

from clipfake.report.sections import sections
from clipfake.report.wording import environment


def test_the_limits_stand_last_and_need_no_numbers():
    assert sections()[-1].name == "limits"
    assert "evidence, not proof" in environment().get_template("limits.html.j2").render()
