"""Stand-in providers: real HTTP servers that speak every dialect and answer by a stated table."""
