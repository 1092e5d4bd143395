"""The Binance spot plug-in of copytrade. Found through its entry point; nobody imports it."""
