"""Acme, a tiny exchange that can follow: polled balances, one order a thread, a PIN beside key and secret."""
