"""Django's database: what its errors mean, and how long a failure is remembered."""
