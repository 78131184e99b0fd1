-- A metric that a walk should have shown of an organization and nowhere did. One that is missing already keeps its
-- time.
insert or ignore into missing_metric values ($organization, $metric, $since, $walk)
