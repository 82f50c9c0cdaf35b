from __future__ import annotations

from datetime import UTC, datetime

import pytest

from localaws.secretsmanager.schedules import due_after

_TUESDAY = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rules", "due"),
    [
        ({"AutomaticallyAfterDays": 30}, "2026-04-09T12:30"),
        ({"ScheduleExpression": "rate(4 hours)"}, "2026-03-10T16:30"),
        ({"ScheduleExpression": "rate(1 day)"}, "2026-03-11T12:30"),
        ({"ScheduleExpression": "cron(0 16 1,15 * ? *)"}, "2026-03-15T16:00"),
        ({"ScheduleExpression": "cron(0 /8 ? * * *)"}, "2026-03-10T16:00"),
        ({"ScheduleExpression": "cron(0 8 ? * MON-FRI *)"}, "2026-03-11T08:00"),
        ({"ScheduleExpression": "cron(0 0 ? * SUN#1 *)"}, "2026-04-05T00:00"),
        ({"ScheduleExpression": "cron(0 6 L * ? *)"}, "2026-03-31T06:00"),
        ({"ScheduleExpression": "cron(0 6 ? * FRIL *)"}, "2026-03-27T06:00"),
        ({"ScheduleExpression": "cron(0 6 1 JAN ? 2028)"}, "2028-01-01T06:00"),
        ({"Duration": "3h"}, None),
        (None, None),
    ],
)
def test_a_schedule_is_due_at_its_next_match(rules: dict[str, object] | None, due: str | None) -> None:
    expected = datetime.fromisoformat(due).replace(tzinfo=UTC) if due else None
    assert due_after(rules, _TUESDAY) == expected
