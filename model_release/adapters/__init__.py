"""Where the rules meet the world: files, HTTP, metrics."""
