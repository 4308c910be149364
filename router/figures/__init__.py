"""What a router tells of itself and its cluster, however many worker processes it has."""
