"""Suites that are shipped: examples that run against the stand-ins."""
