"""Telemetry that lies in files, or in a store that runs: read through the receiver's own code."""
