"""Descriptions: the fields of a name, or the families of the cluster, as a text that fits into a budget of tokens.
Pure.
"""
