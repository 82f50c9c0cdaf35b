"""The commands, a module each: it looks or acts through `stack`, and returns its report."""
