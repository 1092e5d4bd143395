"""The Bitget spot plug-in of copytrade. Nobody imports it: the host finds it by its entry point."""
