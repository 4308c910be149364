"""Reading from a router over HTTP: `client.get.Client` for programs, get.py and `ringkv get` for people."""
