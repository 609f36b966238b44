"""From files and seeds to frozen descriptions of what there is to read."""
