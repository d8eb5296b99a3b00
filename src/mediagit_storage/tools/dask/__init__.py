"""The work of the tools on many machines, by the library distributed (the extra `dask`), one range of names after another."""
