"""Who looks at a case right now."""
