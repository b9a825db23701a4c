"""Other people's policies in our harness: their packages as they are, and every policy by name."""
