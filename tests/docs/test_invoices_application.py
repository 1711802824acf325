"""The tests of docs/examples/invoices are tests."""

from invoices.test_invoices import *  # noqa: F403
