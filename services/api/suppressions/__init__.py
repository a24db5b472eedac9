"""The list of numbers that opted out, over HTTP."""
