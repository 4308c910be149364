"""What every process needs, whatever it serves: addresses, options, a loop that stops in good order, children."""
