"""What ci/mutate is made of: the mutants, the tests that judge them, and what may survive."""
