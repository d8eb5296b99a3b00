"""``python -m mediagit_storage``: the same as the command ``mgs``."""

from mediagit_storage.cli.main import main

if __name__ == "__main__":
    main()
