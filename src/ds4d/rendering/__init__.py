"""The splatter: one protocol, three back ends."""
