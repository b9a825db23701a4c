"""Policies to compare with, all played by the same harness."""
