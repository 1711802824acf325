"""The rules: pure and synchronous. Time, chance and identity are arguments.

The modules below this package are stable: the changelog announces a change of their names.
"""
