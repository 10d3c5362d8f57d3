"""What ci/bench does."""
