-- Lets endpoints that wanted nothing more be told again.
update endpoint set disabled_at = null, enabled_seq = $seq where list_contains($endpoints::varchar[], url)
