-- A decision which of two organizations counts for usage that both report; its values are in the observations.
insert into not_counted values ($seq, $alarm_id, $organization, $project_id, $page_seq)
