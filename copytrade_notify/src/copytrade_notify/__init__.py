"""Notices of copytrade for people: alarms, halts and failed copies, posted to chat robots and webhooks."""
