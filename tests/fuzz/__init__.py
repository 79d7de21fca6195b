"""Random networks: drawn as specs, compiled for every ISA, held against the reference and other frameworks."""
