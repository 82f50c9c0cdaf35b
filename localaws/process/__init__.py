"""The child process: the server, its control surface, and the list of what is replaced of the emulator."""
