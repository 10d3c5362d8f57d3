"""What ci/bench is made of: servers and the load, what is measured, and how it is shown."""
