"""MIRACL dev at its full size: its collections, exact sharded search, and the command that scores a model on it."""
