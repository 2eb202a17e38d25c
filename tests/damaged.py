"""Nested values with another one in some place, for tests of what readers refuse."""

import copy


def places(value, path=(), of_a_list=None):
    """The path of every value inside a nested value; of a list the first few elements, all by default."""
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:of_a_list] if isinstance(
        value, list) else []
    for key, child in inner:
        yield (*path, key)
        yield from places(child, (*path, key), of_a_list)


def changed(value, path, other):
    """A copy with another value in one place."""
    value = copy.deepcopy(value)
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = other
    return value
