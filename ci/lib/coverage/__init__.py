"""What ci/coverage is made of: what clang counted, of which source, and whether that is enough."""
