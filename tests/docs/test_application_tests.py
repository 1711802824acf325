"""The tests of the page "test your application" are tests."""

from test_tested_application import (
    clock,
    outbox,
    test_a_report_that_cannot_be_sent_is_tried_again,
    test_a_request_runs_the_report_now,
    test_the_report_is_sent_at_six_in_rome,
)

__all__ = [
    "clock",
    "outbox",
    "test_a_report_that_cannot_be_sent_is_tried_again",
    "test_a_request_runs_the_report_now",
    "test_the_report_is_sent_at_six_in_rome",
]
