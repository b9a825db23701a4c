"""Agents at work: a support desk and a document batch, driven through official clients."""
