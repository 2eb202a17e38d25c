"""Test sets of other domains and languages, built from their public homes in BEIR's layout; `__main__` is the command.

A builder takes a folder of checkouts and returns `Records`. What each set can and cannot say stands in its module.
"""
