"""From data files to a dataset: sort chunks, merge ranges, write segments; each step a function of what it is given."""
