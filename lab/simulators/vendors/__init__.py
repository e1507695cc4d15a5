"""The vendors' simulators as processes serve them, with one vocabulary of actions for all: see `server`."""
