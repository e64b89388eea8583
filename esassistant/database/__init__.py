"""Django's database: what its failures mean, and how long they are remembered."""
