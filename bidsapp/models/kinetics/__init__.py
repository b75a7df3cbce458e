"""Kinetic models of contrast agent: Tofts, exchange, delay; which one the data support."""
