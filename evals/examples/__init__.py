"""The field's worked examples of routing, each run for real and counted by hand."""
