-- A project that inventory names without showing it (`unavailable_project_ids`) exists, under a name that nobody knows.
-- It has a sighting without a name, until a page shows it.
alter table sighting alter column name drop not null;
