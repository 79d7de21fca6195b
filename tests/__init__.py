"""Tests; shared builders of small networks are in `tests.graphs`."""
