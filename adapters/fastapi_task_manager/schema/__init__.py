"""The models of the REST surface."""
