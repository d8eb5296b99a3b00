"""The storages themselves, one package each; they import neither each other nor layers."""
