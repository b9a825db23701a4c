"""What every part of a kind must keep."""
