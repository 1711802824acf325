"""The error that ends a simulation: an invariant is broken."""

from __future__ import annotations


class Violation(AssertionError):
    """An invariant is broken. The first violation ends the simulation: later ones would only be its consequences."""

    def __init__(self, invariant: str, message: str) -> None:
        self.invariant = invariant
        self.message = message
        super().__init__(f"{invariant}: {message}")
