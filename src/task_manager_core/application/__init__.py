"""Use cases over the ports. Every service is a tick: read, decide, apply, notice. Loops live in `loop`, once.

The modules below this package are internal.
"""
