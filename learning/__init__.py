"""Pure arithmetic: which arm, with which probability. No I/O, no clock, no web, no database."""
