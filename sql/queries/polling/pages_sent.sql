-- When each page of a walk was asked for, in their order.
select sent_at from page where walk = $walk order by seq
