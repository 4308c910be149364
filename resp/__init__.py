"""The Redis protocol as a server speaks it: requests in, replies out, and the commands that every server has."""
