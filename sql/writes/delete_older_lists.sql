-- Forgets the lists of an organization's projects that came before the latest whole one.
delete from listed where organization = $organization and walk <> $walk
