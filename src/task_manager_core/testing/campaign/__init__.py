"""Whole simulations as values: what runs, what goes wrong, what is checked, and what must have been seen."""
