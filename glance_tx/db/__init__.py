"""
Images in SQL: the only user of SQLAlchemy.
"""
