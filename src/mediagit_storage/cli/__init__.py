"""The command line `mgs`: one file a command, loaded when it is called."""
