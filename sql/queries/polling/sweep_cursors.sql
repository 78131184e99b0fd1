-- Where each page of an open sweep led to, in order; null where it was the last one.
select cursor from sweep_page where walk = $walk order by seq
