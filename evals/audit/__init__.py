"""What today's calls cost, what of it is mechanical, and what a first policy would change."""
