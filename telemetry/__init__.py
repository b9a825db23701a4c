"""The shared language at the bottom: records, names, prices, spans, errors, files, time."""
