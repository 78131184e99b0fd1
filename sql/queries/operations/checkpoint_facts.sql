-- When the newest checkpoint was made, and where none was, when the first page came: null in an empty store.
select coalesce((select max(made_at) from checkpoint), (select min(received_at) from page)) as since
