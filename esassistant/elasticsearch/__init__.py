"""The Elasticsearch layer: everything sits under elasticsearch-py's own API, so each call of the client goes through
it.
"""
