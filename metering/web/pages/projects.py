"""The list of projects, and one project."""

from starlette.requests import Request
from starlette.responses import Response

from metering.web import figures, rows
from metering.web.asked import month_of, usage
from metering.web.desk import Desk, Page
from metering.web.view import NotFoundError


def projects(desk: Desk, request: Request) -> Response:
    """Every project."""
    view = desk.view(request)
    month = month_of(request, view)
    return desk.listed(request, view, month.get(figures.project_sheet), month=month)


def project(desk: Desk, request: Request) -> Response:
    """One project's month: usage, quotas, lines, alerts."""
    view = desk.view(request)
    month, name = month_of(request, view), request.query_params.get("id", "")
    known = month.get(figures.projects_by_id).get(name)
    if not known:
        raise NotFoundError(
            f"There is no project {name[:100]!r} in {month.name}.", hint="The list of projects has a search."
        )
    owners = sorted({row["customer"] or "" for row in known})
    documents = [document for owner in owners for document in month.get(figures.documents).get(owner, [])]
    return desk.page(
        request,
        "project",
        view,
        title=known[0]["project_name"] or name,
        month=month,
        project=name,
        known=known,
        lines=[line for document in documents for line in rows.lines(document) if line["project_id"] == name],
        quotas=view.get(figures.quotas_by_project).get(name, []),
        alerts=view.get(figures.alerts_by_project).get(name, []),
        **usage(request, view, month, [name]),
    )


PAGES = (
    Page(path="/projects", answer=projects, needs="see", menu=(3, "Projects"), keeps_month=True),
    Page(path="/project", answer=project, needs="see"),
)
