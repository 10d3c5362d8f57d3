"""The tests: one for each thing a requirement of SPEC.md says can be seen."""
