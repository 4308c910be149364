"""What the HTTP port answers, in OpenAPI 3.1: for people, generators of clients, and the tests that hold it to this."""
