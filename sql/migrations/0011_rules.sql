-- A closing keeps the rules that it was made by, and what its documents say beside their figures.

alter table closing add column rules utinyint default 1;  -- which meaning of the figures; a month closed under other rules stays as documents
alter table closing add column paper varchar;             -- seller, locale and what else its documents are printed with; null under rules 1
