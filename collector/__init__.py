"""Receives spans, keeps them, shows them: the one process that owns the DuckDB file."""
