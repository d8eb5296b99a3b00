"""mediagit-storage: immutable objects, stored the same way everywhere."""

__version__ = "0.1.0"
