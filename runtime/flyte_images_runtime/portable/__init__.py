"""Code for both sides of the exchange, caller and worker: Python 3.8, standard library only."""
