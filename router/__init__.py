"""The gateway that agents call, and the place where everything is composed."""
