"""Where news of alerts goes: one file per kind of sink, and the poster that serves them all."""
