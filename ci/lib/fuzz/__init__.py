"""What ci/fuzz is made of: the fuzzers of a tree, the engines that drive them, what they find."""
