"""What all processes must agree on: from a key to its position, partition and owners, and how they talk."""
