"""
Who may do what, as written down by the operator.
"""
