"""What a batch and its messages are, and every decision about them: values in, values out.

Nothing here waits, reads a clock, draws a random number or knows of SQL, AMQP, HTTP, the environment or a log:
`lint-imports` proves it.
"""
