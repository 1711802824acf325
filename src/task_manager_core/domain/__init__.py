"""The rules: pure and synchronous. Time, chance and identity are arguments."""
