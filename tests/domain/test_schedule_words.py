"""A schedule has a sentence that tells its slots exactly, or none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from task_manager_core.domain.cron import CronExpression, CronValues
from task_manager_core.domain.errors import InvalidCron
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.schedule_words import cron_in_words, in_words

SENTENCES = {
    "* * * * *": "every minute",
    "* * * * * *": "every second",
    "*/10 * * * * *": "every 10 seconds",
    "*/7 * * * *": None,
    "*/7 * * * * *": None,
    "*/5 * * * *": "every 5 minutes",
    "*/5 9-17 * * mon-fri": "every 5 minutes from 09:00 to 17:55 from Monday to Friday",
    "0,30 8-18 * * *": "every 30 minutes from 08:00 to 18:30",
    "5-59/15 * * * *": "every hour at minute 5, 20, 35 and 50",
    "0-10 * * * *": None,
    "@hourly": "every hour",
    "30 9-17 * * *": "every hour at minute 30 from 09:30 to 17:30",
    "0 */3 * * *": "every 3 hours from 00:00 on",
    "30 */3 * * *": None,
    "0 */6 * * *": "at 00:00, 06:00, 12:00 and 18:00 every day",
    "* 3 * * *": "every minute from 03:00 to 03:59",
    "*/5 22-2 * * *": None,
    "@daily": "at 00:00 every day",
    "@weekly": "at 00:00 on Sunday",
    "@monthly": "at 00:00 on day 1 of the month",
    "@yearly": "at 00:00 on day 1 of the month in January",
    "15 30 2 1,15 * *": "at 02:30:15 on days 1 and 15 of the month",
    "15 * * * * *": None,
    "0 0 l * *": "at 00:00 on the last day of the month",
    "0 0 l,15 * *": "at 00:00 on day 15 and the last day of the month",
    "0 0 1-7 * *": None,
    "0 0 1-31 * *": "at 00:00 every day",
    "0 0 1-31 * */2": "at 00:00 every day",
    "0 0 13 * fri": "at 00:00 on day 13 of the month or on Friday",
    "0 0 * * 1-5": "at 00:00 from Monday to Friday",
    "0 0 * * 6-7": "at 00:00 on Saturday and Sunday",
    "0 0 * * 0-7": "at 00:00 every day",
    "0 9 * * MON-wed,fri": "at 09:00 on Monday, Tuesday, Wednesday and Friday",
    "0 0 ? * 7": "at 00:00 on Sunday",
    "0 0 * * mon#1": "at 00:00 on the first Monday of the month",
    "0 0 * * l5": "at 00:00 on the last Friday of the month",
    "0 0 15w * *": None,
    "0 0 * jan,jul *": "at 00:00 every day in January and July",
    "0 0 * feb-apr *": "at 00:00 every day from February to April",
    "h h * * *": "at 10:57 every day",
    "h(0-29) 3 * * *": "at 03:27 every day",
}


@pytest.mark.parametrize(("text", "sentence"), SENTENCES.items())
def test_each_form_of_an_expression_has_its_sentence_or_none(text: str, sentence: str | None) -> None:
    assert cron_in_words(CronExpression.parse(text, hash_seed="g/n")) == sentence


FIELDS = (
    ("*", "0", "7", "59", "0,30", "5,6,7", "*/5", "*/7", "*/60", "0-10", "1-59/2", "2-58/4", "10-12"),
    ("*", "0", "9", "23", "8-10", "9-17", "*/2", "*/5", "22-2", "1,3", "0-22/2", "1-23/2"),
    ("*", "1", "31", "l", "1,15", "1-7", "*/2", "1-31", "l,1", "?"),
    ("*", "1", "mar", "1-3", "jan,jul", "*/3", "1-12", "11-12"),
    ("*", "0", "7", "mon", "1-5", "6-7", "sun-tue", "mon#1", "mon#2", "l5", "*/2", "1,3", "fri-sat", "0-6"),
)
SECONDS = ("*", "0", "30", "*/10", "0,30", "5-6")


def test_two_expressions_with_the_same_sentence_allow_the_same_values() -> None:
    """A sentence that left something out would be the sentence of another expression, too."""
    random, found, written = Random(5), dict[str, tuple[str, CronValues | None]](), 0
    for number in range(1_000):
        parts = [random.choice(field) for field in FIELDS]
        text = " ".join([random.choice(SECONDS), *parts] if number % 3 == 0 else parts)
        try:
            expression = CronExpression.parse(text)
        except InvalidCron:
            continue
        sentence = cron_in_words(expression)
        if sentence is not None:
            written += 1
            other, values = found.setdefault(sentence, (text, expression.values))
            assert expression.values == values, (sentence, text, other)
    assert written > 100
    assert len(found) > 80


def test_the_values_of_an_expression_are_the_times_that_it_matches() -> None:
    for text in SENTENCES:
        expression = CronExpression.parse(text, hash_seed="g/n")
        values, moment = expression.values, datetime(2024, 2, 27, tzinfo=UTC).replace(tzinfo=None)
        for _ in range(25 if values is not None and values.nth is None else 0):
            match = expression.first_match(moment)
            assert values is not None
            assert match is not None
            days = None if values.days is None else match.day in values.days or _is_last(match, values)
            weekdays = None if values.weekdays is None else match.isoweekday() % 7 in values.weekdays
            assert (days, weekdays) == (None, None) or days or weekdays, (text, match)
            assert match.second in values.seconds
            assert match.minute in values.minutes
            assert match.hour in values.hours
            assert match.month in values.months
            moment = match + timedelta(seconds=1)


def _is_last(match: datetime, values: CronValues) -> bool:
    return "l" in (values.days or ()) and (match + timedelta(days=1)).day == 1


def test_a_schedule_that_is_no_cron_expression_has_a_sentence() -> None:
    start, end = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
    every = Schedule.every(timedelta(hours=2), phase=timedelta(seconds=90))
    assert in_words(every) == "Every 2 hours, shifted by 90 seconds"
    assert in_words(Schedule.every(timedelta(minutes=1))) == "Every minute"
    assert in_words(Schedule.every(timedelta(seconds=1.5))) == "Every 1.5 seconds"
    assert in_words(Schedule.at(start)) == "Once at 2026-03-01 12:00:00 UTC"
    assert in_words(Schedule.at(end, start)) == "At 2 instants, 2026-03-01 12:00:00 UTC to 2026-03-02 12:30:00 UTC"
    assert in_words(Schedule(rules=())) == "Only on request"


def test_a_sentence_names_the_zone_the_bounds_and_the_jitter_or_there_is_none() -> None:
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    two = Schedule.cron(["0 9 * * *", "0 17 * * fri"], timezone="Europe/Rome")
    assert in_words(two) == "At 09:00 every day (Europe/Rome); and at 17:00 on Friday (Europe/Rome)"
    bounded = Schedule.cron("0 9 * * *", start_at=start, end_at=end, jitter=timedelta(minutes=1))
    assert in_words(bounded) == (
        "At 09:00 every day (UTC); not before 2026-03-01 00:00:00 UTC; only before 2026-04-01 00:00:00 UTC; "
        "each up to 1 minute later"
    )
    assert in_words(Schedule.cron(["0 9 * * *", "*/7 * * * *"])) is None
    assert in_words(Schedule.cron(["0 1 * * *", "0 2 * * *", "0 3 * * *", "0 4 * * *"])) is None
