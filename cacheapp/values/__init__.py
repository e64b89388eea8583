"""Field values (what documents hold in fields, gathered from the cluster within a budget) and use counts (which fields
searches name).
"""
