"""The demand model: it learns from past requests which families will be asked for soon. It decides for which families
calls are sent to the cluster: whose field values are gathered ahead, and whose mappings are read first. All modules are
pure, except `learner`.
"""
