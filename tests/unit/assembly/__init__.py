"""What the functions are made of: their settings, and the clients of AWS."""
