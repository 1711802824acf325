"""Which cron texts are accepted, what they mean, and what is refused with a reason."""

from __future__ import annotations

import pickle
import random
from calendar import monthrange
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import DefinitionError, InvalidCron


def wall(text: str) -> datetime:
    """A naive datetime, because a wall clock has no zone."""
    return datetime.fromisoformat(text)


NEW_YEAR = wall("2026-01-01T00:00")


def matches(text: str, count: int, start: datetime = NEW_YEAR, seed: str | None = None) -> list[datetime]:
    expression = CronExpression.parse(text, hash_seed=seed)
    found: list[datetime] = []
    at = start
    while len(found) < count:
        match = expression.first_match(at)
        if match is None:
            break
        found.append(match)
        at = match + timedelta(seconds=1)
    return found


def refusal(text: object, seed: str | None = None) -> InvalidCron:
    with pytest.raises(InvalidCron) as caught:
        CronExpression.parse(text, hash_seed=seed)  # type: ignore[arg-type]  # hostile input is the point
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/20 * * * *", ["2026-01-01T00:00", "2026-01-01T00:20", "2026-01-01T00:40", "2026-01-01T01:00"]),
        ("*/10 0 9 * * *", ["2026-01-01T09:00:00", "2026-01-01T09:00:10"]),
        ("0 9 * * MON-fri", ["2026-01-01T09:00", "2026-01-02T09:00", "2026-01-05T09:00"]),
        ("0 0 1 jAn,Jul *", ["2026-01-01", "2026-07-01", "2027-01-01"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28"]),
        ("0 0 15,L 2 *", ["2026-02-15", "2026-02-28"]),
        ("0 0 * * L5", ["2026-01-30", "2026-02-27"]),
        ("0 0 * * 5#2", ["2026-01-09", "2026-02-13"]),
        ("0 0 * * FRI#5", ["2026-01-30", "2026-05-29"]),
        ("0 0 15W * *", ["2026-01-15", "2026-02-16", "2026-03-16"]),
        ("0 0 1W 8 *", ["2026-08-03"]),
        ("0 0 ? * 7", ["2026-01-04", "2026-01-11"]),
        ("0 0 * * 0", ["2026-01-04", "2026-01-11"]),
        ("0 0 13 * FRI", ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("0 0 L * MON", ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-01-31"]),
        ("0 0 31 4 MON", ["2026-04-06", "2026-04-13"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("59/15 * * * *", ["2026-01-01T00:59", "2026-01-01T01:59"]),
        ("50-10 3 * * *", ["2026-01-01T03:00", "2026-01-01T03:01"]),
        ("0 0 * * 0-7", ["2026-01-01", "2026-01-02"]),
        ("0 0 * * 5-7", ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-09"]),
        ("0 0 * * 5-7/2", ["2026-01-02", "2026-01-04", "2026-01-09"]),
        ("0 0 * * sat-mon", ["2026-01-03", "2026-01-04", "2026-01-05", "2026-01-10"]),
    ],
)
def test_an_expression_matches_these_wall_clock_times(text: str, expected: list[str]) -> None:
    assert matches(text, len(expected)) == [wall(one) for one in expected]


@pytest.mark.parametrize(
    ("alias", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@WEEKLY", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        (" @annually ", "0 0 1 1 *"),
    ],
)
def test_an_alias_means_its_five_fields_with_and_without_a_seed(alias: str, fields: str) -> None:
    assert matches(alias, 3) == matches(fields, 3) == matches(alias, 3, seed="group/task")
    assert CronExpression.parse(alias).is_fixed_time is CronExpression.parse(fields).is_fixed_time


@pytest.mark.parametrize("text", ["0 0 1-31 * */2", "0 0 */2 * 0-6", "0 0 */2 * 0-7", "0 0 1-31 * MON", "0 0 1 * 0-6"])
def test_of_two_restricted_day_fields_either_one_matches_even_if_one_of_them_holds_every_day(text: str) -> None:
    assert matches(text, 40) == [NEW_YEAR + timedelta(days=day) for day in range(40)]


def test_white_space_is_normalised_and_the_text_stays_as_written() -> None:
    expression = CronExpression.parse("  0\t9  * *   Mon ")
    assert expression.text == "0 9 * * Mon"
    assert expression == CronExpression.parse("0 9 * * Mon") == CronExpression(text=" 0 9 * * Mon")
    assert CronExpression.parse("@Daily").text == "@Daily"


def test_expressions_are_values() -> None:
    one, same, other = (CronExpression(text=text) for text in ("0 9 * * *", "0 9 * * *", "0 10 * * *"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one) == "CronExpression(text='0 9 * * *', hash_seed=None)"
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_same_text_is_parsed_once() -> None:
    assert CronExpression.parse("7 9 * * *") is CronExpression.parse(" 7 9 * * *", hash_seed="anything")


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("30 2 * * *", True),
        ("0-59 2 * * *", True),
        ("0,30 1-5/2 * * *", True),
        ("*/10 30 2 * * *", True),
        ("H H * * *", True),
        ("@daily", True),
        ("* 2 * * *", False),
        ("*/15 2 * * *", False),
        ("30 * * * *", False),
        ("30 */2 * * *", False),
        ("0 30 * * * *", False),
        ("@hourly", False),
    ],
)
def test_a_schedule_is_fixed_time_when_neither_minute_nor_hour_begins_with_a_star(text: str, *, fixed: bool) -> None:
    assert CronExpression.parse(text, hash_seed="seed").is_fixed_time is fixed


def test_h_is_a_function_of_the_seed() -> None:
    hashed = [matches("H H * * *", 1, seed=f"group/task-{number}")[0] for number in range(50)]
    assert hashed == [matches("H H * * *", 1, seed=f"group/task-{number}")[0] for number in range(50)]
    assert len(set(hashed)) > 40
    one, other = (CronExpression.parse("h * * * *", hash_seed=seed) for seed in ("a", "b"))
    assert one != other
    assert one.hash_seed == "a"
    minutes = {match.minute for match in matches("H(10-19) * * * *", 5, seed="x")}
    assert len(minutes) == 1
    assert 10 <= minutes.pop() <= 19
    assert len({match.minute for match in matches("H/15 * * * *", 8, seed="x")}) == 4


def test_a_seed_without_h_changes_nothing() -> None:
    assert CronExpression(text="0 9 * * *", hash_seed="seed") == CronExpression(text="0 9 * * *")
    assert CronExpression(text="0 0 * * THU").hash_seed is None


def test_h_without_a_seed_is_refused() -> None:
    assert "seed" in refusal("H * * * *").reason


@pytest.mark.parametrize("text", ["R * * * *", "0 r(1-5) * * *", "R/7 * * * *", "1,R * * * *", "* * * * r(1-3)/2"])
def test_randomness_is_refused(text: str) -> None:
    assert "differs" in refusal(text).reason


@pytest.mark.parametrize(
    "text",
    [
        "5-5 * * * *",
        "05-5 * * * *",
        "5-5/2 * * * *",
        "1,5-5 * * * *",
        "7-7 0 0 * * *",
        "0 1-1 * * *",
        "0 0 3-3 * *",
        "0 0 31-L * *",
        "0 0 1 jan-jan *",
        "0 0 1 JAN-1 *",
        "0 0 1 6-jun/2 *",
        "0 0 * * mon-mon",
        "0 0 * * Mon-1",
        "0 0 * * fri-fri#2",
        "0 0 * * 7-0",
        "0 0 * * 7-0/2",
        "0 0 * * 0-0",
        "0 0 * * 7-7",
        "0 0 * * 7-sun",
    ],
)
def test_a_range_of_equal_ends_is_refused(text: str) -> None:
    assert "equal ends" in refusal(text).reason


@pytest.mark.parametrize("text", ["50-10/7 * * * *", "0 23-7/2 * * *", "0 0 25-5/3 * *", "0 0 * * fri-tue/2"])
def test_a_step_in_a_range_that_wraps_round_is_refused(text: str) -> None:
    """croniter 7.0 steps one too far (pallets-eco/croniter#268): 23-7/2 gives 23, 2, 4, 6."""
    assert "wraps round" in refusal(text).reason


@pytest.mark.parametrize(
    "text",
    [
        "0 0 13 * FRI#2",
        "* * 18 3 3#2",
        "0 0 13 * L5",
        "0 0 15W * MON",
        "0 0 15W * MON#1",
        "0 0 w15 * 1",
        "0 0 L * 5#2",
        "0 0 */2 * 5#2",
        "0 0 29 2 MON#5",
    ],
)
def test_nth_weekdays_and_nearest_weekdays_do_not_combine_with_the_other_day_field(text: str) -> None:
    assert "other day field" in refusal(text).reason


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 31 2,4,6,9,11 *", "0 0 0 30 2 *"])
def test_an_expression_that_never_fires_is_refused(text: str) -> None:
    assert refusal(text).reason == "never fires"


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"* * * * *",
        5,
        2.5,
        ["* * * * *"],
        {},
        "",
        "   ",
        "\t",
        "*",
        "* * * *",
        "* * * * * * *",
        "0 0 1 1 * 0 2030",
        "\n* * * * *",
        "* * * * *\n",
        "* *\n* * *",
        "* * * * *\r",
        "* * * * *\x00",
        "* *\x1f* * *",
        "* *\u00a0* * *",
        "\u0661 * * * *",
        "\uff15 * * * *",
        "\u017fun * * * *",
        "0 0 * * \U0001f600",
        "\ud800 * * * *",
        "@reboot",
        "@every 5m",
        "@minutely",
        "@daily *",
        "@",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "61 * * * * *",
        "*/0 * * * *",
        "*/-1 * * * *",
        "5/0 * * * *",
        "*/ * * * *",
        "/5 * * * *",
        "*/2/3 * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "1.5 * * * *",
        "1e3 * * * *",
        "1- * * * *",
        "1-2-3 * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "** * * * *",
        "? * * * *",
        "* * ?,1 * *",
        "mon * * * *",
        "* * * mon *",
        "* * * * jan",
        "* * * * foo",
        "* * * * mon#0",
        "* * * * mon#6",
        "* * * * mon#l",
        "* * * * mon#1,fri",
        "* * * * L8",
        "* * * * 5L",
        "* * L-3 * *",
        "* * LW * *",
        "* * 32W * *",
        "* * 1,15W * *",
        "x * * * *",
        "${jndi} * * * *",
        "__class__ * * * *",
    ],
)
def test_hostile_and_malformed_input_is_refused(text: object) -> None:
    error = refusal(text, seed="seed")
    assert error.field == "cron_expression"
    assert error.reason
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "*" * 10_000,
        "9" * 5000 + " * * * *",
        "*/" + "9" * 5000 + " * * * *",
        ",".join(["0-59"] * 100_000) + " * * * *",
        " " * 1_000_000,
        "* * * * " + " " * 300 + "*",
        "H(" + "1" * 5000 + "-2) * * * *",
    ],
)
def test_a_long_text_is_refused_before_it_is_parsed(text: str) -> None:
    error = refusal(text, seed="seed")
    assert error.reason == "must not exceed 256 characters"
    assert len(str(error)) < 300


@pytest.mark.parametrize("text", ["H(5-5) * * * *", "H(9-5) * * * *", "H(0-99) * * * *", "H/0 * * * *", "H#2 * * * *"])
def test_a_malformed_h_is_refused(text: str) -> None:
    refusal(text, seed="seed")


def test_numbers_as_long_as_the_limit_allows_are_harmless() -> None:
    refusal("9" * 240 + " * * * *")
    refusal("0-" + "9" * 240 + " * * * *")
    assert matches("*/" + "9" * 240 + " * * * *", 2) == [NEW_YEAR, wall("2026-01-01T01:00")]
    assert matches(",".join(["0-59"] * 48) + " * * * *", 2) == [NEW_YEAR, wall("2026-01-01T00:01")]


def test_the_error_names_the_field_the_caller_used_and_the_text_he_wrote() -> None:
    with pytest.raises(InvalidCron) as caught:
        CronExpression.parse("61 * * * *", field="schedule.cron")
    assert caught.value.field == "schedule.cron"
    assert caught.value.value == "61 * * * *"
    with pytest.raises(InvalidCron):
        CronExpression(text="61 * * * *")


@pytest.mark.parametrize("seed", [b"x", 5, [], {}])
def test_a_seed_that_is_no_text_is_refused(seed: object) -> None:
    with pytest.raises(InvalidCron, match="seed"):
        CronExpression(text="H * * * *", hash_seed=seed)  # type: ignore[arg-type]  # hostile input is the point
    with pytest.raises(InvalidCron, match="seed"):
        CronExpression.parse("H * * * *", hash_seed=seed)  # type: ignore[arg-type]  # hostile input is the point


@given(st.text(max_size=40) | st.text(alphabet="0123456789*/-,#?LWHRlwhr @monjanfri", max_size=40))
def test_any_text_is_an_expression_or_a_definition_error(text: str) -> None:
    try:
        expression = CronExpression.parse(text, hash_seed="seed")
    except DefinitionError:
        return
    assert expression.first_match(NEW_YEAR) is not None


@given(st.lists(st.text(alphabet="0123456789*/-,#?LWHlwh", min_size=1, max_size=6), min_size=5, max_size=6))
def test_any_five_or_six_fields_are_an_expression_or_a_definition_error(fields: list[str]) -> None:
    try:
        expression = CronExpression.parse(" ".join(fields), hash_seed="seed")
    except DefinitionError:
        return
    first = expression.first_match(NEW_YEAR)
    assert first is not None
    assert expression.first_match(first) == first


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("0 9 * * *", "2026-01-01T09:00:00", "2026-01-01T09:00:00"),
        ("0 9 * * *", "2026-01-01T09:00:00.000001", "2026-01-02T09:00:00"),
        ("0 9 * * *", "2026-01-01T08:59:59.999999", "2026-01-01T09:00:00"),
        ("0 9 * * *", "2026-01-01T09:00:01", "2026-01-02T09:00:00"),
        ("* * * * * *", "2026-01-01T09:00:01.5", "2026-01-01T09:00:02"),
        ("* * * * * *", "2026-01-01T09:00:01", "2026-01-01T09:00:01"),
        ("* * * * *", "9999-12-31T23:58:30", "9999-12-31T23:59:00"),
        ("* * * * *", "1970-01-01T00:00:00", "1970-01-01T00:00:00"),
        ("* * * * *", "0001-01-02T00:00:00", "0001-01-02T00:00:00"),
    ],
)
def test_the_first_match_is_inclusive_and_exact_to_the_microsecond(text: str, at: str, expected: str) -> None:
    match = CronExpression.parse(text).first_match(wall(at))
    assert match == wall(expected)
    assert match is not None
    assert match.tzinfo is None


@pytest.mark.parametrize("at", ["9999-12-31T23:59:01", "9999-12-31T23:59:59.999999"])
def test_nothing_matches_past_the_last_year(at: str) -> None:
    assert CronExpression.parse("* * * * *").first_match(wall(at)) is None
    assert CronExpression.parse("0 0 29 2 *").first_match(wall(at)) is None


def test_the_expression_that_fires_most_rarely_is_found_over_forty_years() -> None:
    assert matches("0 0 * 2 MON#5", 3, wall("2045-01-01")) == [wall(f"{year}-02-29") for year in (2072, 2112, 2140)]


def test_an_expression_may_be_asked_from_several_threads_at_once() -> None:
    expression = CronExpression.parse("*/7 3 * * 1-5")
    starts = [NEW_YEAR + timedelta(minutes=97 * number) for number in range(400)]
    expected = [expression.first_match(start) for start in starts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(expression.first_match, starts * 3)) == expected * 3


def _nearest_weekday(year: int, month: int, day: int) -> int:
    last = monthrange(year, month)[1]
    day = min(day, last)
    candidates = [other for other in range(1, last + 1) if date(year, month, other).weekday() < 5]
    return min(candidates, key=lambda other: (abs(other - day), other))


def _day_matches(day: date, month_day: str, weekday: str) -> bool:
    """A second implementation of the two day fields, for single items."""
    last = monthrange(day.year, day.month)[1]
    dow = day.isoweekday() % 7
    if month_day == "L":
        by_month_day = day.day == last
    elif month_day.endswith("W"):
        by_month_day = day.day == _nearest_weekday(day.year, day.month, int(month_day[:-1]))
    else:
        by_month_day = month_day == "*" or day.day in {int(item) for item in month_day.split(",")}
    if "#" in weekday:
        which, nth = weekday.split("#")
        by_weekday = dow == int(which) % 7 and (day.day - 1) // 7 + 1 == int(nth)
    elif weekday.startswith("L"):
        by_weekday = dow == int(weekday[1:]) % 7 and day.day + 7 > last
    else:
        by_weekday = weekday == "*" or dow in {int(item) % 7 for item in weekday.split(",")}
    if month_day != "*" and weekday != "*":
        return by_month_day or by_weekday
    return by_month_day and by_weekday


def _random_days(chance: random.Random) -> tuple[str, str]:
    def several(low: int, high: int) -> str:
        return ",".join(str(chance.randint(low, high)) for _ in range(chance.randint(1, 3)))

    pairs = [
        ("L", "*"),
        ("L", several(0, 7)),
        (f"{chance.randint(1, 31)}W", "*"),
        ("*", f"{chance.randint(0, 7)}#{chance.randint(1, 5)}"),
        ("*", f"L{chance.randint(0, 7)}"),
        (several(1, 31), "*"),
        ("*", several(0, 7)),
        (several(1, 31), several(0, 7)),
    ]
    return chance.choice(pairs)


def test_days_agree_with_a_second_reading_of_150_random_expressions_over_four_years() -> None:
    chance = random.Random(20260101)
    first, last = date(2026, 12, 30), date(2030, 12, 31)
    days = [first + timedelta(days=number) for number in range((last - first).days)]
    for _ in range(150):
        month_day, weekday = _random_days(chance)
        months = sorted(chance.sample(range(1, 13), 4)) if chance.random() < 0.3 else list(range(1, 13))
        text = f"0 0 {month_day} {','.join(map(str, months)) if len(months) < 12 else '*'} {weekday}"
        expected = [day for day in days if day.month in months and _day_matches(day, month_day, weekday)]
        if text.startswith("0 0 31 ") and not expected:  # no month of those chosen has 31 days
            assert refusal(text).reason == "never fires"
            continue
        found = matches(text, len(expected), wall(first.isoformat()))
        assert [match.date() for match in found] == expected, text


def test_a_match_never_depends_on_what_was_asked_before() -> None:
    chance = random.Random(7)
    kept = CronExpression.parse("*/17 4,5 */3 * 2,4")
    for _ in range(200):
        start = NEW_YEAR + timedelta(seconds=chance.randrange(10**9))
        assert kept.first_match(start) == CronExpression(text=kept.text).first_match(start)
