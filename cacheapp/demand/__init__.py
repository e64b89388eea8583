"""The demand model: it learns from past requests which families will be asked for soon. By it is chosen for which
families to spend calls to the cluster: whose field values are gathered ahead, and whose mappings are read first. All
modules are pure, except `learner`.
"""
