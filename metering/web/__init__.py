"""The dashboard: pages, downloads and a JSON API over the published snapshot; they show what the commands print.

`app` assembles the application, `guard` decides who may look, `view` computes and keeps the figures of a snapshot,
`tables` defines the columns of each list, `listing` searches, sorts and pages it, `pages` and `api` answer requests.
Must not add anything up.
"""

__all__ = ["app", "desk", "figures", "guard", "links", "persons", "probes", "server", "view", "views", "watch"]
