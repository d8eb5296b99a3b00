"""This library behind the interfaces of others. Each needs its extra, and is imported by nobody who does not ask for it."""
