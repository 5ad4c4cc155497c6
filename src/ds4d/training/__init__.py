"""The fit: a trainer that yields events and knows no screen."""
