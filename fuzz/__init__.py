"""Millions of requests, answers and bodies that nobody would send, through the code that must bear them."""
