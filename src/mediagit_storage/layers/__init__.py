"""Layers: backends that wrap a backend and change one thing about it. Each may be stacked on any other."""
