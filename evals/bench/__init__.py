"""Measurements of tierwise on this machine: interleaved rounds, medians, nothing asserted."""
