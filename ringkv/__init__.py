"""The command `ringkv`: thin, everything it does is done elsewhere."""
