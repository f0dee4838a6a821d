"""View models: domain objects as plain dictionaries that the templates render.

Templates contain no logic beyond conditions; texts that depend on domain rules are made here.
"""
