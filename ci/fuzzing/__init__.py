"""What ci/fuzz is made of: the tree's fuzzers, the engines that drive them, and what they find."""
