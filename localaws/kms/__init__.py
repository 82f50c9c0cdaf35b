"""KMS where the emulator is quicker than AWS, or takes what AWS does not: new keys, tags of keys, key policies."""
