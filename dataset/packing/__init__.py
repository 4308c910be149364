"""From data files to a packed one: sort chunks, merge ranges, write; each step a function of what it is given."""
