-- Lets endpoints that wanted nothing more be told again.
update endpoint set disabled_at = null where list_contains($endpoints::varchar[], url)
