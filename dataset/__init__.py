"""The text format, the packed file, and the way from one to the other."""
