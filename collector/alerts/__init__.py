"""Alerts: what is looked at, what it takes to fire, and how it ends. See docs/alerts.md."""
