"""A rotation from the outside: started, and followed through its steps by the function's log."""
