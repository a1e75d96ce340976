"""
What happened, told to whoever wants to know: the log, a Redis channel, a message broker.
"""
