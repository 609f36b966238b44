"""The analyses that ship, a folder each: one kernel and its orchestrations."""
