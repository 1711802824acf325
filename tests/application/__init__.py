"""The services, ticked by hand over the memory store with a hand-moved clock. Reads as a tutorial from `test_node`."""
