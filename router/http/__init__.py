"""The router's HTTP port: keys, batches, explanations, the page."""
