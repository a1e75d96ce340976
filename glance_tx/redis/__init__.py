"""
A connection to Redis that outlives the server's absences.
"""
