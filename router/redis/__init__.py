"""The router's Redis port."""
