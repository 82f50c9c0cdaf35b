"""KMS where the emulator is quicker than AWS: new keys, and the tags of keys."""
