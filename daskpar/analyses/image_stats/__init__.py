"""Statistics of image stacks."""
