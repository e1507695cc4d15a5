"""Tells people what has happened: notices read from their topic, grouped, and delivered."""
