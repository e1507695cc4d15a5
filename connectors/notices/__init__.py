"""Notices to people: webhooks and e-mail."""
