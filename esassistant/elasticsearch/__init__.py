"""The Elasticsearch layer. All of it lies below elasticsearch-py's own API, so each call of the
client goes through it.
"""
