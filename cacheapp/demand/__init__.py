"""The demand model: which families will be asked for soon, learnt from what was asked for. It chooses what costs calls
to the cluster: whose field values are gathered ahead, and whose mappings are read first. Pure, but for `learner`.
"""
