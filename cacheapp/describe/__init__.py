"""Descriptions: the fields of a name, or the families of the cluster, in a text that fits a budget of tokens. Pure."""
