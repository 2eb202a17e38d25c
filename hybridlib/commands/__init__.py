"""The sub-commands of ``hybridlib``: each a module with `add_to`, its arguments, and `run`, what it does."""
