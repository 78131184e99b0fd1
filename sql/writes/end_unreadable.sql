-- Ends what could not be read of an organization's list: a later complete walk over it records that anew. What could
-- not be read when single projects were asked for ends with the next walk over all of them.
update unreadable set ended_seq = $seq
where organization = $organization and grain is not distinct from $grain and walk <> $walk
  and ended_seq is null and (endpoint = $endpoint or (endpoint = 'batch' and $endpoint = 'history'))
  and $endpoint <> 'batch'
