"""The dashboard: pages, downloads and a JSON API over the published snapshot; they show what the commands print.

`app` puts it together, `guard` says who may look, `view` keeps each figure of a snapshot, `tables` says which columns a
list has and `listing` what of it is shown, `pages` and `api` answer. Nothing here adds anything up.
"""

__all__ = ["app", "desk", "figures", "guard", "links", "probes", "server", "view", "views", "watch"]
