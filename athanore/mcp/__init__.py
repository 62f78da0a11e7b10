"""The task API's calls as tools of the Model Context Protocol: how they are told and served.

Which tools there are is said in `athanore.api.tools`.
"""
