"""The panel: what a trader sees and decides. A client of the engine; it holds no key of an exchange."""
