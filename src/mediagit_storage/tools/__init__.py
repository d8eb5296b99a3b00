"""Work on whole storages, over any two of them: what `mgs` is a face of."""
