"""The commands, a module each: it looks or acts through `deployment` and `survey`, and returns its report."""
