"""Plan-and-Execute agents that use nothing of the gateway but its public API."""
