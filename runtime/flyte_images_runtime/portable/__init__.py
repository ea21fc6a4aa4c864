"""Shared by both sides of the exchange: Python 3.8, standard library only."""
