"""The tests of the requirements of SPEC.md."""
